#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"
#include "os/descriptor.h"

namespace ipcm::launcher {

/// The two descriptors between a bridge and its program: lines come in and go out. They may be pipes, sockets,
/// files or a terminal, in blocking mode or not; the mode stays as it is, since other processes may share them.
class Channel {
 public:
  Channel(os::UniqueFd in, os::UniqueFd out);

  [[nodiscard]] int in() const { return in_.get(); }
  [[nodiscard]] int out() const { return out_.get(); }
  /// Returns false for a regular file, for which no loop can wait, and which is always ready.
  [[nodiscard]] bool can_wait_for_input() const { return can_wait_for_input_; }
  [[nodiscard]] bool can_wait_for_output() const { return can_wait_for_output_; }

  /// Reads once, without blocking if the input is ready.
  void fill();
  enum class Next {
    none,     ///< No whole line is there.
    line,     ///< A line, without its newline; valid until the next call of fill().
    too_long  ///< A line of more than 64 MiB; the channel skips it.
  };
  [[nodiscard]] Next next(std::string_view& line);
  /// Returns whether the input has ended and next() has nothing left.
  [[nodiscard]] bool at_end() const { return ended_ && at_ >= buffer_.size(); }
  [[nodiscard]] bool has_ended() const { return ended_; }

  /// From now on, a line of its length precedes each long line: a shell reads lines byte by byte, and lengths in blocks.
  void tell_lengths() { tells_lengths_ = true; }
  /// Appends a line. While more than 8 MiB wait, blocks until the reader has read some, or until one of the
  /// descriptors of `break_off` is readable.
  void put(std::string line);
  /// Writes what the reader accepts now. Never throws: see is_broken().
  void flush();
  /// From now on, a wait for the reader ends after a few seconds, and the rest is dropped.
  void begin_to_end();
  /// Writes all that waits, for a few seconds at most.
  void finish();
  [[nodiscard]] std::size_t waiting() const { return pending_.size() - written_; }
  /// Returns whether the reader has gone: the rest is dropped.
  [[nodiscard]] bool is_broken() const { return broken_; }
  /// Notes that the reader has gone, and drops the rest.
  void drop();
  void close();

  /// Sets the descriptors that end a wait for the reader: signals, or the end of the program. Borrowed.
  void break_off(std::vector<int> descriptors) { break_off_ = std::move(descriptors); }

 private:
  void await_reader(std::size_t most, Duration limit);

  os::UniqueFd in_, out_;
  bool can_wait_for_input_, can_wait_for_output_;
  std::string buffer_;
  std::size_t at_ = 0, looked_ = 0;  // there is no newline between them
  bool passing_over_ = false;        // skips the rest of a line that is too long
  bool ended_ = false;
  std::string pending_;
  std::size_t written_ = 0;  // of `pending_`
  bool broken_ = false;
  bool tells_lengths_ = false;
  Duration longest_wait_ = kNoLimit;
  std::vector<int> break_off_;
};

}  // namespace ipcm::launcher
