#include "command/log_stream.h"

#include <sys/epoll.h>

#include <utility>

namespace ipcm::command {
namespace {

constexpr std::size_t kMostWaiting = 256UL * 1024;

}  // namespace

void LogStream::write(std::string_view bytes) {
  if (!open_) {
    writer_ = os::StreamWriter(os::duplicate(stream_));
    open_ = true;
  }
  if (waiting_.empty() && dropped_ == 0) bytes.remove_prefix(writer_.put(bytes));
  if (bytes.empty()) return;
  const std::size_t kept = dropped_ > 0 ? 0 : std::min(bytes.size(), kMostWaiting - waiting_.size());
  waiting_.append(bytes.substr(0, kept));
  dropped_ += bytes.size() - kept;
  if (!room_) room_ = loop_.watch(writer_.fd(), EPOLLOUT, [this](std::uint32_t) { put_waiting(); });
}

void LogStream::put_waiting() {
  waiting_.erase(0, writer_.put(waiting_));
  if (!waiting_.empty()) return;
  if (dropped_ > 0)
    waiting_ = "\nipcm: " + std::to_string(std::exchange(dropped_, 0)) +
               " bytes of output were dropped here: the reader of this stream was too slow\n";
  else
    room_.stop();
}

void LogStream::reopen() {
  if (!waiting_.empty()) (void)writer_.put(waiting_);
  waiting_.clear();
  dropped_ = 0;
  room_.stop();
  writer_ = {};
  open_ = false;
}

}  // namespace ipcm::command
