#include "service/diagnostic.h"

#include "os/pipe.h"
#include "wire/printable.h"

namespace ipcm::service {
namespace {

constexpr int kStderr = 2;
/// A line with its prefix is not longer than a pipe accepts in one write.
constexpr std::size_t kLongestSentence = 3UL * 1024, kLongestBeginning = 768;
constexpr auto kPatience = std::chrono::seconds(1);

}  // namespace

void complain(std::string_view service, std::string_view sentence) noexcept {
  try {
    complain_about("service '" + wire::printable_name(service) + "'", sentence);
  } catch (...) {
    return;  // out of memory
  }
}

void complain_about(std::string_view about, std::string_view sentence) noexcept {
  try {
    tell("ipcm: " + wire::printable(about, kLongestBeginning), sentence);
  } catch (...) {
    return;
  }
}

void tell(std::string_view program, std::string_view sentence) noexcept {
  try {
    const std::string line = wire::printable(program, kLongestBeginning) + ": " +
                             wire::printable(sentence, kLongestSentence) + "\n";
    (void)os::try_write_line(kStderr, line, os::Deadline::after(kPatience));
  } catch (...) {
    return;
  }
}

}  // namespace ipcm::service
