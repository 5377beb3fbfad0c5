#include "line_reader.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "os/events.h"
#include "os/pipe.h"

namespace ipcm::launcher {
namespace {

constexpr int kStdin = 0;
constexpr std::size_t kPiece = 64UL * 1024;
constexpr std::size_t kLongestLine = 64UL * 1024 * 1024;

}  // namespace

LineReader::LineReader(Loop& loop) : can_wait_(os::EventSet::can_wait_for(kStdin)) {
  if (!os::is_open(kStdin))
    ended_ = true;
  else if (can_wait_)
    watch_ = loop.watch(kStdin, EPOLLIN, [this](std::uint32_t) {
      there_ = true;
      watch_.want(0);  // until fill() has read
    });
}

void LineReader::fill() {
  if (ended_ || (can_wait_ && !there_)) return;
  if (at_ > 0 && at_ >= buffer_.size() / 2) {
    buffer_.erase(0, at_);
    looked_ -= at_;
    at_ = 0;
  }
  // Another process may share stdin, and it may be blocking: one read for each event does not block.
  ended_ = os::read_some(kStdin, buffer_, kPiece, "stdin") == os::ReadResult::end;
  there_ = false;
  if (can_wait_) watch_.want(ended_ ? 0U : static_cast<std::uint32_t>(EPOLLIN));
  if (ended_) watch_.stop();
}

LineReader::Next LineReader::next(std::string& line) {
  constexpr int kPieces = 16;
  for (int pieces = 0;;) {
    const auto newline = buffer_.find('\n', looked_);
    const bool is_last = newline == std::string::npos && ended_ && at_ < buffer_.size();
    if (newline != std::string::npos || is_last) {
      const std::size_t end = std::min(newline, buffer_.size());
      const std::size_t begin = at_;
      at_ = looked_ = std::min(end + 1, buffer_.size());
      if (std::exchange(passing_over_, false)) continue;
      if (end - begin > kLongestLine) return Next::too_long;
      line = buffer_.substr(begin, end - begin);
      return Next::line;
    }
    looked_ = buffer_.size();
    const bool is_too_long = !passing_over_ && looked_ - at_ > kLongestLine;
    if (is_too_long || passing_over_) {
      passing_over_ = true;
      buffer_.clear();
      at_ = looked_ = 0;
    }
    if (is_too_long) return Next::too_long;
    if (ended_ || (can_wait_ && !there_) || pieces++ == kPieces) return Next::none;
    fill();
  }
}

}  // namespace ipcm::launcher
