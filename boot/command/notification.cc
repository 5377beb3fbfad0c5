#include "command/notification.h"

#include <charconv>
#include <cstdint>

namespace ipcm::command {
namespace {

std::optional<Duration> microseconds(std::string_view text) {
  constexpr std::uint64_t kMost = 100'000'000'000'000;  // three years
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number > kMost) return std::nullopt;
  return std::chrono::microseconds(number);
}

}  // namespace

Notification parse_notification(std::string_view text) {
  Notification told;
  while (!text.empty()) {
    const auto newline = text.find('\n');
    const std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, equals), value = line.substr(equals + 1);
    if (name == "READY")
      told.ready = value == "1";
    else if (name == "STATUS")
      told.status = std::string(value);
    else if (name == "EXTEND_TIMEOUT_USEC")
      told.more_time = microseconds(value);
    else if (name == "WATCHDOG_USEC")
      told.watchdog = microseconds(value);
    else if (name == "WATCHDOG") {
      told.alive = value == "1";
      told.is_broken = value == "trigger";
    }
  }
  return told;
}

}  // namespace ipcm::command
