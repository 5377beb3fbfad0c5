#include "line_reader.h"

#include <sys/epoll.h>

#include "ipcm/error.h"
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
      watch_.want(0);  // until we read again
    });
}

void LineReader::fill() {
  if (ended_ || (can_wait_ && !there_)) return;
  if (at_ > 0 && at_ >= buffer_.size() / 2) {
    buffer_.erase(0, at_);
    looked_ -= at_;
    at_ = 0;
  }
  // stdin may be shared and blocking: it is read only when something is there, once.
  ended_ = os::read_some(kStdin, buffer_, kPiece, "stdin") == os::ReadResult::end;
  there_ = false;
  if (can_wait_) watch_.want(ended_ ? 0U : static_cast<std::uint32_t>(EPOLLIN));
  if (ended_) watch_.stop();
  if (buffer_.size() - at_ > kLongestLine) throw UsageError("a line of stdin is longer than 64 MiB");
}

bool LineReader::next(std::string& line) {
  for (;;) {
    const auto end = buffer_.find('\n', looked_);
    if (end != std::string::npos) {
      line = buffer_.substr(at_, end - at_);
      at_ = looked_ = end + 1;
      return true;
    }
    looked_ = buffer_.size();
    if (ended_) {
      if (at_ >= buffer_.size()) return false;
      line = buffer_.substr(at_);
      at_ = buffer_.size();
      return true;
    }
    if (can_wait_ && !there_) return false;
    fill();
  }
}

}  // namespace ipcm::launcher
