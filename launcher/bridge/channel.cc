#include "bridge/channel.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "ipcm/error.h"
#include "loop/loop.h"
#include "os/events.h"
#include "os/pipe.h"

namespace ipcm::launcher {
namespace {

constexpr std::size_t kReadSize = 64UL * 1024;
constexpr std::size_t kLongestInput = 64UL * 1024 * 1024;
constexpr std::size_t kShortLine = 4096;
constexpr auto kLongestFinish = std::chrono::seconds(5);
constexpr std::size_t kMostWaiting = 8UL * 1024 * 1024;

}  // namespace

Channel::Channel(os::UniqueFd in, os::UniqueFd out)
    : in_(std::move(in)),
      out_(std::move(out)),
      can_wait_for_input_(os::EventSet::can_wait_for(in_.get())),
      can_wait_for_output_(os::EventSet::can_wait_for(out_.get())) {}

void Channel::fill() {
  if (ended_) return;
  if (at_ > 0 && at_ >= buffer_.size() / 2) {
    buffer_.erase(0, at_);
    looked_ -= at_;
    at_ = 0;
  }
  try {
    ended_ = os::read_some(in_.get(), buffer_, kReadSize, "the input of the bridge") == os::ReadResult::end;
  } catch (const SystemError&) {
    ended_ = true;  // ECONNRESET: the program was killed
  }
}

Channel::Next Channel::next(std::string_view& line) {
  for (;;) {
    const auto newline = buffer_.find('\n', looked_);
    if (newline == std::string::npos) break;
    const std::size_t begin = at_;
    at_ = looked_ = newline + 1;
    if (std::exchange(passing_over_, false)) continue;
    if (newline - begin > kLongestInput) return Next::too_long;
    line = std::string_view(buffer_).substr(begin, newline - begin);
    return Next::line;
  }
  if (ended_) {  // half a line: its writer died
    at_ = looked_ = buffer_.size();
    return Next::none;
  }
  looked_ = buffer_.size();
  if (!passing_over_ && looked_ - at_ <= kLongestInput) return Next::none;
  buffer_.clear();
  at_ = looked_ = 0;
  return std::exchange(passing_over_, true) ? Next::none : Next::too_long;
}

void Channel::put(std::string line) {
  if (broken_) return;
  if (tells_lengths_ && line.size() > kShortLine)
    pending_.append(R"({"type":"length","bytes":)").append(std::to_string(line.size())).append("}\n");
  line.push_back('\n');
  if (pending_.empty())
    pending_ = std::move(line);
  else
    pending_.append(line);
  if (waiting() > kMostWaiting) await_reader(kMostWaiting, longest_wait_);
}

void Channel::flush() {
  if (broken_ || waiting() == 0) return;
  try {
    const auto rest = std::string_view(pending_).substr(written_);
    if (can_wait_for_output_) {
      written_ += os::put_without_blocking(out_.get(), rest, "the output of the bridge");
    } else {
      os::write_all(out_.get(), rest, "the output of the bridge");
      written_ = pending_.size();
    }
  } catch (const SystemError&) {
    return drop();
  }
  if (written_ == pending_.size()) {
    pending_.clear();
    written_ = 0;
  } else if (written_ >= pending_.size() / 2) {
    pending_.erase(0, std::exchange(written_, 0));
  }
}

void Channel::begin_to_end() { longest_wait_ = kLongestFinish; }

void Channel::finish() { await_reader(0, kLongestFinish); }

/// Writes until at most that many bytes wait.
void Channel::await_reader(std::size_t most, Duration limit) {
  flush();
  if (broken_ || waiting() <= most) return;
  Loop loop;
  bool ends = false;
  std::vector<Watch> watches;
  watches.push_back(loop.watch(out_.get(), EPOLLOUT, [this](std::uint32_t) { flush(); }));
  for (const int fd : break_off_)
    watches.push_back(loop.watch(fd, EPOLLIN, [&ends](std::uint32_t) { ends = true; }));
  const bool done =
      loop.run_until([&] { return ends || broken_ || waiting() <= most; }, os::Deadline::limit(limit));
  if (ends || !done) drop();
}

void Channel::drop() {
  broken_ = true;
  pending_.clear();
  written_ = 0;
}

void Channel::close() {
  in_.reset();
  out_.reset();
}

}  // namespace ipcm::launcher
