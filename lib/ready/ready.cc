#include "ready/ready.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "ipcm/error.h"
#include "os/directory.h"
#include "os/pipe.h"
#include "os/process.h"
#include "os/socket.h"
#include "wire/json_text.h"
#include "wire/number.h"
#include "wire/top_level.h"

namespace ipcm::ready {
namespace {

constexpr std::size_t kLongestReport = 64UL * 1024;

/// Returns the text in quotes for an error, with ? for control characters.
std::string shown(std::string_view text) {
  constexpr std::size_t kLongest = 200;
  std::string all;
  for (const char c : text.substr(0, kLongest)) all.push_back(static_cast<unsigned char>(c) < 0x20 ? '?' : c);
  return "'" + all + "'";
}

}  // namespace

void Announcer::use_notify_socket() {
  const auto take = [](const char* variable) {
    auto value = os::environment(variable);
    if (value) ::unsetenv(variable);
    return value;
  };
  const auto socket = take("NOTIFY_SOCKET"), watchdog = take("WATCHDOG_USEC"),
             watchdog_pid = take("WATCHDOG_PID");
  if (!socket || pipe_) return;
  notify_socket_ = *socket;
  if (!watchdog || (watchdog_pid && *watchdog_pid != std::to_string(os::own_pid()))) return;
  std::int64_t microseconds = 0;
  const auto [end, error] =
      std::from_chars(watchdog->data(), watchdog->data() + watchdog->size(), microseconds);
  if (error == std::errc{} && microseconds > 0) watchdog_ = std::chrono::microseconds(microseconds) / 2;
}

void Announcer::notify(std::string_view state) noexcept {
  if (!notify_socket_.empty()) (void)os::send_datagram(notify_socket_, state);
}

bool Announcer::ready(const std::string& name) {
  if (real_stderr_) {
    os::replace_standard_stream(real_stderr_.get(), 2);
    real_stderr_.reset();
  }
  if (log_.out) os::replace_standard_stream(log_.log.get(), 1);
  if (log_.err) os::replace_standard_stream(log_.log.get(), 2);
  if (pipe_) {
    const std::string line = R"({"ready":true,"name":)" + wire::json_string(name) + R"(,"pid":)" +
                             std::to_string(os::own_pid()) + "}\n";
    const bool heard = os::try_write_all(pipe_.get(), line);
    pipe_.reset();
    if (!heard) return false;
  }
  notify("READY=1\nSTATUS=serving\n");
  return true;
}

void Announcer::failed(const std::string& error, bool joined) noexcept {
  const std::string text = R"({"ready":false,"error":)" +
                           wire::json_string(error, wire::BrokenUtf8::replaced) +
                           (joined ? R"(,"phase":"start"})" : "}");
  if (pipe_) (void)os::try_write_all(pipe_.get(), text);
  pipe_.reset();
  std::string status = error;  // on one line: systemd would read the next line as another assignment
  std::replace(status.begin(), status.end(), '\n', ' ');
  notify("STATUS=" + status + "\nSTOPPING=1\n");
}

void Announcer::stopping() noexcept { notify("STOPPING=1\n"); }
void Announcer::alive() noexcept { notify("WATCHDOG=1\n"); }

Report Listener::parse(std::string_view text, bool with_newline) const {
  if (with_newline && text.empty()) return Ready{};  // an s6-style notification: only the newline counts
  Ready ready;
  Failed failed;
  bool is_ready = false, says_ready = false;
  try {
    wire::for_each_member(
        text, "the ready line",
        [&](std::string_view key, wire::MemberKind kind, std::string_view raw, std::string_view decoded) {
          const std::string_view plain = kind == wire::MemberKind::string ? decoded : raw;
          if (key == "ready") says_ready = true, is_ready = wire::is_truthy(kind, raw, decoded);
          if (key == "name" && kind != wire::MemberKind::null) ready.name = plain;
          if (key == "pid") ready.pid = wire::number_from<Pid>(plain).value_or(0);
          if (key == "error") failed.error = decoded;
          if (key == "phase") failed.joined = decoded == "start";
          return true;
        });
  } catch (const ProtocolError&) {
    says_ready = false;
  }
  if (says_ready && is_ready && with_newline) {
    if (ready.name.empty() || name_.empty() || ready.name == name_) return ready;
    failed.error = "its ready line names another service: " + shown(ready.name);
    return failed;
  }
  if (says_ready && !is_ready && !failed.error.empty()) return failed;
  failed.error = "it wrote " + shown(text) +
                 " where the ready line was expected, a JSON object with \"ready\":true (docs/boot.md)";
  return failed;
}

std::optional<Report> Listener::feed(std::string_view bytes) {
  seen_.append(bytes);
  if (const auto end = seen_.find('\n'); end != std::string::npos)
    return parse(std::string_view(seen_).substr(0, end), true);
  if (seen_.size() > kLongestReport)
    return Failed{"it wrote more than 64 KiB where the ready line was expected"};
  return std::nullopt;
}

Report Listener::at_end() const { return seen_.empty() ? Report(Silent{}) : parse(seen_, false); }

}  // namespace ipcm::ready
