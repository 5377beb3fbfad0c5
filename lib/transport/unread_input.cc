#include "transport/unread_input.h"

#include <atomic>
#include <cstdint>
#include <optional>

#include "ipcm/error.h"
#include "os/descriptor.h"
#include "os/directory.h"
#include "wire/number.h"
#include "wire/printable.h"

namespace ipcm::transport {
namespace {

constexpr std::size_t kMebi = 1024UL * 1024;
constexpr std::size_t kLongestShown = 60;
constexpr std::size_t kUsualLimit = 256, kLeastLimit = 1, kMostLimit = 1024UL * 1024;

// Members of one process may belong to several threads.
std::atomic<std::size_t> of_all{0};

std::optional<std::size_t> valid_limit(const std::optional<std::string>& text) {
  const auto given = text ? wire::number_from<std::size_t>(*text) : std::nullopt;
  return given && *given >= kLeastLimit && *given <= kMostLimit ? given : std::nullopt;
}

std::size_t limit_from_environment() {
  return valid_limit(os::environment("IPCM_INPUT_LIMIT")).value_or(kUsualLimit);
}

}  // namespace

void UnreadInput::change(std::size_t bytes) noexcept {
  of_all.fetch_add(bytes - bytes_, std::memory_order_relaxed);  // may wrap around, and back
  bytes_ = bytes;
}

void UnreadInput::check_limit() {
  const auto text = os::environment("IPCM_INPUT_LIMIT");
  if (text && !text->empty() && !valid_limit(text))
    throw UsageError("$IPCM_INPUT_LIMIT is '" + wire::printable(*text, kLongestShown) +
                     "', not a number of MiB from " + std::to_string(kLeastLimit) + " to " +
                     std::to_string(kMostLimit) + "; unset it, or correct it");
}

std::size_t UnreadInput::all() noexcept { return of_all.load(std::memory_order_relaxed); }

std::size_t UnreadInput::limit() {
  // Read once in each process: a forked service may have an environment of its own.
  constexpr unsigned kHalf = 32;
  static std::atomic<std::uint64_t> known{0};  // the limit and, above it, the generation that it is of
  const std::uint64_t now = known.load(std::memory_order_relaxed);
  if (now != 0 && now >> kHalf == os::generation()) return static_cast<std::uint32_t>(now) * kMebi;
  const std::uint64_t mebi = limit_from_environment();
  known.store(std::uint64_t{os::generation()} << kHalf | mebi, std::memory_order_relaxed);
  return mebi * kMebi;
}

}  // namespace ipcm::transport
