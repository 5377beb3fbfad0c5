#include "launch/stderr_capture.h"

#include <sys/epoll.h>

#include "ipcm/error.h"
#include "os/pipe.h"

namespace ipcm::launch {
namespace {

/// The size of the text in an error.
constexpr std::size_t kTail = 16UL * 1024;
/// The size of the text that one turn of the loop reads.
constexpr std::size_t kAtOnce = 64UL * 1024;
/// The size of the held text at which the pipe is not read any more.
constexpr std::size_t kMostHeld = 128UL * 1024;
/// The largest content of a pipe (fs.pipe-max-size). Text beyond it was written while we read.
constexpr std::size_t kLargestPipe = 1024UL * 1024;

}  // namespace

void StderrCapture::begin(Loop& loop, os::UniqueFd pipe, WordsTo to) {
  loop_ = &loop;
  pipe_ = std::move(pipe);
  to_ = std::move(to);
  os::set_nonblocking(pipe_.get());
  watch_ = loop.watch(pipe_.get(), EPOLLIN, [this](std::uint32_t) { read(); });
}

void StderrCapture::read() {
  for (std::size_t before = held_.size(); held_.size() < before + kAtOnce;) {
    const auto result = os::read_some(pipe_.get(), held_, kAtOnce, "stderr of a starting service");
    if (result == os::ReadResult::end) watch_.stop();  // otherwise the end would wake the loop in each turn
    if (result != os::ReadResult::some) break;
  }
  pass_excess();
}

/// Writes the oldest held text to its destination, except the part that an error would show.
void StderrCapture::pass_excess() {
  if (held_.size() > kTail) held_.erase(0, to_.put(std::string_view(held_).substr(0, held_.size() - kTail)));
  const bool full = held_.size() >= kMostHeld;
  if (full == static_cast<bool>(room_watch_)) return;
  if (full) {
    watch_.want(0);
    room_watch_ = loop_->watch(to_.fd(), EPOLLOUT, [this](std::uint32_t) { pass_excess(); });
  } else {
    room_watch_.stop();
    watch_.want(EPOLLIN);
  }
}

/// Reads all that is in the pipe. Returns true if it has no writer any more. Ignores errors: the relay may
/// read the rest, and a start does not fail because of lost text.
bool StderrCapture::drain() noexcept try {
  for (std::size_t before = held_.size(); held_.size() < before + kLargestPipe;) {
    const auto result = os::read_some(pipe_.get(), held_, kAtOnce, "stderr of a starting service");
    if (result == os::ReadResult::later) return !os::has_writer(pipe_.get());
    if (result == os::ReadResult::end) return true;
  }
  return false;
} catch (const std::exception&) {
  return false;
}

void StderrCapture::stop() {
  watch_.stop();
  room_watch_.stop();
}

std::string StderrCapture::take_tail() {
  if (!active()) return {};
  stop();
  (void)drain();
  if (held_.size() > kTail) {
    const std::size_t excess = held_.size() - kTail;
    (void)to_.put(std::string_view(held_).substr(0, excess));  // bytes without room are lost
    held_.erase(0, excess);
  }
  pipe_.reset();
  to_ = {};
  return std::exchange(held_, {});
}

void StderrCapture::pass_on() {
  if (!active()) return;
  stop();
  const bool ended = drain();
  held_.erase(0, to_.put(held_));
  if (!ended || !held_.empty()) start_relay();
  pipe_.reset();
  to_ = {};
  held_.clear();
}

void StderrCapture::leave_to_relay() {
  if (!active()) return;
  stop();
  start_relay();
  pipe_.reset();
  to_ = {};
  held_.clear();
}

void StderrCapture::start_relay() {
  try {
    relay_ = launch::start_relay(pipe_, to_, held_);
    relay_watch_ = loop_->watch(relay_.pidfd(), EPOLLIN, [this](std::uint32_t) {
      if (relay_.try_reap() || relay_.reaped()) relay_watch_.stop();
    });
  } catch (const SystemError&) {
    // No process can be made. The service runs on; its pipe has no reader, so its output is lost.
  }
}

}  // namespace ipcm::launch
