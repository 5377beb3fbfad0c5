#include "wire/last_words.h"

namespace ipcm::wire {

std::string last_words(std::string_view tail) {
  constexpr std::size_t kLongest = 300;
  std::string line;
  for (const char c : tail) {
    if (c == '\n')
      line.append(line.empty() || line.ends_with(" / ") ? "" : " / ");
    else if (static_cast<unsigned char>(c) >= 0x20)
      line.push_back(c);
  }
  if (line.ends_with(" / ")) line.resize(line.size() - 3);
  if (line.size() > kLongest) line = "…" + line.substr(line.size() - kLongest);
  return line;
}

}  // namespace ipcm::wire
