#include "os/process_statistics.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <string>

#include "ipcm/error.h"
#include "os/descriptor.h"
#include "os/pipe.h"
#include "os/process.h"
#include "os/sys.h"

namespace ipcm::os {
namespace {

ProcessStatistics::State state_of(char letter) {
  switch (letter) {
    case 'T':
    case 't':
      return ProcessStatistics::State::stopped;
    case 'Z':
    case 'X':
      return ProcessStatistics::State::zombie;
    default:
      return ProcessStatistics::State::running;
  }
}

}  // namespace

std::optional<ProcessStatistics> statistics_in(std::string_view stat, long ticks) {
  // The second field, the name, may contain any characters. Fields are counted as in proc(5).
  constexpr int kName = 2, kState = 3, kUserTime = 14, kKernelTime = 15;
  auto at = stat.rfind(')');
  if (at == std::string_view::npos || ticks <= 0) return std::nullopt;
  ProcessStatistics found;
  std::uint64_t counted = 0;
  for (int field = kName + 1; field <= kKernelTime; ++field) {
    at = stat.find(' ', at + 1);
    if (at == std::string_view::npos || at + 1 == stat.size()) return std::nullopt;
    const std::string_view rest = stat.substr(at + 1);
    if (field == kState) found.state = state_of(rest.front());
    if (field != kUserTime && field != kKernelTime) continue;
    std::uint64_t part = 0;
    if (std::from_chars(rest.data(), rest.data() + rest.size(), part).ec != std::errc{}) return std::nullopt;
    counted += part;
  }
  found.processor_time = std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(static_cast<double>(counted) / static_cast<double>(ticks)));
  return found;
}

std::optional<ProcessStatistics> process_statistics(Pid pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const UniqueFd file(quiet([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!file) return std::nullopt;
  try {
    constexpr std::size_t kLongest = 1U << 16U;
    return statistics_in(read_all(file.get(), kLongest, path.c_str()), ::sysconf(_SC_CLK_TCK));
  } catch (const Error&) {
    return std::nullopt;  // ESRCH: the process ended after the file was opened
  }
}

std::optional<ProcessStatistics> proven_statistics(int pidfd) {
  const auto pid = pid_of(pidfd);
  if (!pid) return std::nullopt;
  const auto found = process_statistics(*pid);
  return pid_of(pidfd) == pid ? found : std::nullopt;  // its number was not free meanwhile
}

}  // namespace ipcm::os
