#include "launch/stderr_capture.h"

#include <sys/epoll.h>

#include "ipcm/error.h"
#include "os/pipe.h"
#include "os/spawn.h"

namespace ipcm::launch {
namespace {

constexpr std::size_t kHeld = 16UL * 1024;

}  // namespace

void StderrCapture::begin(Loop& loop, os::UniqueFd pipe, os::UniqueFd real) {
  pipe_ = std::move(pipe);
  real_ = std::move(real);
  os::set_nonblocking(pipe_.get());
  watch_ = loop.watch(pipe_.get(), EPOLLIN, [this](std::uint32_t) { read(); });
}

void StderrCapture::read() {
  for (;;) {
    const auto result = os::read_some(pipe_.get(), held_, kHeld, "stderr of a starting service");
    if (result == os::ReadResult::end) watch_.stop();  // or it would wake us for ever
    if (result != os::ReadResult::some) return;
    if (held_.size() <= kHeld) continue;
    // More than we hold: what is oldest goes where it was meant to go.
    const std::size_t excess = held_.size() - kHeld;
    (void)os::try_write_all(real_.get(), std::string_view(held_).substr(0, excess));
    held_.erase(0, excess);
  }
}

std::string StderrCapture::take_tail() {
  if (!active()) return {};
  read();
  watch_.stop();
  pipe_.reset();
  return std::move(held_);
}

void StderrCapture::pass_on(Loop& loop) {
  if (!active()) return;
  read();
  watch_.stop();
  if (!held_.empty()) (void)os::try_write_all(real_.get(), held_);
  held_.clear();
  if (os::has_writer(pipe_.get())) {
    os::SpawnRequest cat;
    cat.program = "/bin/cat";
    cat.args = {"cat"};
    cat.fds = {{pipe_.get(), 0}, {real_.get(), 1}, {real_.get(), 2}};
    os::set_blocking(pipe_.get());
    auto made = os::spawn(cat);
    if (auto* child = std::get_if<os::Child>(&made)) {
      relay_ = std::move(*child);
      relay_watch_ = loop.watch(relay_.pidfd(), EPOLLIN, [this](std::uint32_t) {
        if (relay_.try_reap() || relay_.reaped()) relay_watch_.stop();
      });
    }
  }
  pipe_.reset();
  real_.reset();
}

}  // namespace ipcm::launch
