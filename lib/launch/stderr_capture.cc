#include "launch/stderr_capture.h"

#include <sys/epoll.h>

#include "ipcm/error.h"
#include "os/pipe.h"

namespace ipcm::launch {
namespace {

/// For the error.
constexpr std::size_t kTail = 16UL * 1024;
/// In one turn of the loop.
constexpr std::size_t kAtOnce = 64UL * 1024;
/// Beyond it the pipe is not read.
constexpr std::size_t kMostHeld = 128UL * 1024;
/// A pipe holds no more (fs.pipe-max-size): what is beyond it was written while we read.
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
    if (result == os::ReadResult::end) watch_.stop();  // or it would wake us for ever
    if (result != os::ReadResult::some) break;
  }
  pass_excess();
}

/// More than the error would show: what is oldest goes where it was meant to go.
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

/// Takes what is in the pipe. true: it has ended. Words that can't be read now are for the relay, or lost:
/// the service is ready, or has failed, all the same.
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
    (void)to_.put(std::string_view(held_).substr(0, excess));  // what does not go out now is lost
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
    // No process to be had. The service runs, and its pipe has no reader: its words are lost.
  }
}

}  // namespace ipcm::launch
