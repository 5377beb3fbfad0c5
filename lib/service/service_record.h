#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ipcm/inspection.h"
#include "wire/printable.h"

namespace ipcm::service {

/// What a service has done so far, for those that inspect it.
struct ServiceRecord {
  using Clock = std::chrono::system_clock;

  std::optional<Clock::time_point> ready;
  std::uint64_t requests = 0;  ///< Handed to the handler.
  std::uint64_t answered = 0, failed = 0;
  std::optional<Inspection::Failure> last_failure;

  /// Returns the requests that are not answered yet. (A service may answer one twice.)
  [[nodiscard]] std::uint64_t open() const { return requests - std::min(requests, answered + failed); }

  void note_failure(std::string_view sentence) {
    constexpr std::size_t kLongest = 3UL * 1024;
    last_failure = Inspection::Failure{wire::printable(sentence, kLongest), Clock::now()};
  }
};

}  // namespace ipcm::service
