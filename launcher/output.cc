#include "output.h"

#include <algorithm>
#include <utility>

#include <unistd.h>

#include "os/pipe.h"
#include "os/sys.h"
#include "wire/json_text.h"
#include "wire/printable.h"
#include "wire/utf8.h"

namespace ipcm::launcher {
namespace {

constexpr std::size_t kBuffer = 64UL * 1024;

std::string& buffer() {
  static std::string text;
  return text;
}

/// Replaces DEL, the only control character that JSON allows in a string, by its escape.
void escape_deletes(std::string& json) {
  for (std::size_t at = 0; (at = json.find('\x7f', at)) != std::string::npos;) json.replace(at, 1, "\\u007f");
}

/// Returns the number of characters, which is about the number of columns on a terminal: some characters are
/// two columns wide.
std::size_t width_of(std::string_view printable) {
  return static_cast<std::size_t>(std::count_if(printable.begin(), printable.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

}  // namespace

OutputLost::OutputLost(int error)
    : Error("stdout can't be written: " + os::errno_text(error)), code_(error) {}

void flush_output() {
  // Emptied before the write: if the write fails, a second one would fail in the same way.
  const std::string text = std::exchange(buffer(), {});
  try {
    os::write_all(STDOUT_FILENO, text, "stdout");
  } catch (const SystemError& error) {
    throw OutputLost(error.code());
  }
}

void print_text(std::string_view text) {
  buffer().append(text);
  if (buffer().size() >= kBuffer) flush_output();
}

void print_line(std::string_view line) {
  constexpr std::size_t kNoLimitOfLength = static_cast<std::size_t>(-1);
  print_text(wire::printable(line, kNoLimitOfLength) + "\n");
}

void print_json(std::string json) {
  escape_deletes(json);
  json.push_back('\n');
  print_text(json);
}

Content foreign_text(std::string_view text) {
  return Content::json(wire::json_string(text, wire::BrokenUtf8::replaced));
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  // A route may be as long as a path; the callers limit the length of names.
  constexpr std::size_t kLongestCell = 4096;
  std::vector<std::vector<std::string>> shown;
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    auto& cells = shown.emplace_back();
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      cells.push_back(wire::printable(row[i], kLongestCell));
      widths[i] = std::max(widths[i], width_of(cells[i]));
    }
  }
  for (const auto& row : shown) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line.append(row[i]);
      if (i + 1 < row.size()) line.append(widths[i] - width_of(row[i]) + 2, ' ');
    }
    print_text(line + "\n");
  }
}

void complain(std::string_view sentence) noexcept {
  try {
    (void)os::try_write_all(STDERR_FILENO, "ipcm: " + wire::printable(sentence) + "\n");
  } catch (...) {
    (void)os::try_write_all(STDERR_FILENO, "ipcm: out of memory\n");
  }
}

void complain_json(std::string json) noexcept {
  try {
    escape_deletes(json);
    json.push_back('\n');
    (void)os::try_write_all(STDERR_FILENO, json);
  } catch (...) {
    (void)os::try_write_all(STDERR_FILENO, "{\"error\":\"out of memory\"}\n");
  }
}

}  // namespace ipcm::launcher
