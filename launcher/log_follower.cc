#include "log_follower.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "ipcm/error.h"
#include "ipcm/service_log.h"
#include "os/pipe.h"

namespace ipcm::launcher {
namespace {

/// The time after which a command begins to watch the logs.
constexpr auto kLongCommand = std::chrono::milliseconds(100);
/// The pause between two copies: many services may write single lines.
constexpr auto kPause = std::chrono::milliseconds(50);

}  // namespace

LogFollower::LogFollower(Loop& loop, const BusInfo& info)
    : loop_(loop), directory_(service_log_directory(info)) {
  timer_ = loop.at(os::Clock::now() + kLongCommand, [this] { begin_to_watch(); });
}

void LogFollower::begin_to_watch() {
  try {
    stderr_.emplace(os::duplicate(STDERR_FILENO));
    changes_.emplace(directory_, os::DirectoryWatch::Of::contents);
  } catch (const SystemError&) {
    return;  // this user has no inotify watches left; finish() copies the logs
  }
  changes_watch_ = loop_.watch(changes_->fd(), EPOLLIN, [this](std::uint32_t) {
    changes_->read([](std::string_view) {});
    copy();
  });
  copy();
}

/// Copies new lines, then pauses.
void LogFollower::copy() {
  find_logs();
  for (auto& [name, log] : logs_)
    if (pending_.empty()) pending_ = log.read_new();
  changes_watch_.want(0);
  if (put()) {
    timer_ = loop_.at(os::Clock::now() + kPause, [this] { changes_watch_.want(EPOLLIN); });
    return;
  }
  room_watch_ = loop_.watch(stderr_->fd(), EPOLLOUT, [this](std::uint32_t) {
    if (!put()) return;
    room_watch_.stop();
    copy();
  });
}

void LogFollower::find_logs() {
  for (const std::string& path : service_logs_in(directory_))
    logs_.try_emplace(path, path).first->second.open();
}

bool LogFollower::put() {
  pending_.erase(0, stderr_->put(pending_));
  return pending_.empty();
}

void LogFollower::hold() {
  timer_.stop();
  changes_watch_.stop();
  room_watch_.stop();
  find_logs();
}

void LogFollower::finish() {
  (void)os::try_write_all(STDERR_FILENO, pending_);
  pending_.clear();
  for (auto& [name, log] : logs_) (void)os::try_write_all(STDERR_FILENO, log.read_new());
}

}  // namespace ipcm::launcher
