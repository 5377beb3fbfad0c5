#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "command/host.h"
#include "loop/loop.h"
#include "os/child.h"
#include "os/clock.h"
#include "os/descriptor.h"

namespace ipcm::command {

/// One running program: a process that leads a group of its own, with its streams on the loop of the service.
///
/// The callbacks of the loop move bytes, note the end, and wake the service; the owner reacts in a turn. Stderr goes to
/// the log of the service, and its end is kept for errors. Stdout is kept until the owner takes it, up to a limit, beyond
/// which the program waits in its write.
///
/// The destructor kills the process and its group. Processes that have left the group are ended with the service.
class Program {
 public:
  enum class Stdin {
    pipe,      ///< write() and close_input() feed it.
    inherited  ///< that of the service
  };
  /// Starts it. Throws Error if it can't be executed. The host must outlive this object.
  Program(Host& host, const os::SpawnRequest& request, Stdin input);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  [[nodiscard]] Pid pid() const { return child_.pid(); }

  // Stdin
  /// Writes text, as soon as the program reads it. If the program has closed its end, the text is dropped.
  void write(std::string text);
  /// Returns how many bytes wait until the program reads.
  [[nodiscard]] std::size_t unwritten() const { return input_.size() - written_; }
  /// Closes it when everything is written.
  void close_input();

  // Stdout
  [[nodiscard]] std::string_view output() const { return std::string_view(output_).substr(taken_); }
  void drop_output(std::size_t count);
  [[nodiscard]] std::string take_output();
  /// Whether there is more output than `max_output`.
  [[nodiscard]] bool has_too_much_output() const { return output_.size() - taken_ > limit_; }
  [[nodiscard]] bool has_closed_output() const { return !out_; }

  // Stderr
  /// A function that gets the text of stderr as it comes.
  void on_errors(std::function<void(std::string_view)> call) { on_errors_ = std::move(call); }
  /// Adds text to that which last_words() quotes.
  void note_words(std::string_view text);
  /// Returns "; its last words: …", or an empty text: the end of its stderr, and what note_words() has added.
  [[nodiscard]] std::string last_words() const;

  // The end
  /// Whether the process has ended; then all of its output is there, except that beyond the limit.
  [[nodiscard]] bool has_ended() const { return ended_; }
  /// Its exit status; none: it still runs, or other code has reaped it.
  [[nodiscard]] const std::optional<ExitStatus>& status() const { return child_.status(); }
  /// Returns "exited with status 3WHEN; its last words: …".
  [[nodiscard]] std::string describe_end(std::string_view when = {}) const;
  /// Ends it and its group: SIGTERM, and SIGKILL when the grace of the plan is over. Returns at once.
  void stop();
  /// Kills the processes of its group that still run.
  void kill_group() noexcept;

 private:
  void put_input();
  void read_output();
  void read_errors();
  void note_end();

  Host& host_;
  os::Child child_;
  Pid group_ = 0;
  os::UniqueFd in_, out_, err_;
  Watch in_watch_, out_watch_, err_watch_, end_watch_, kill_timer_;
  std::string input_;
  std::size_t written_ = 0;
  bool closes_input_ = false;
  std::string output_;
  std::size_t taken_ = 0, limit_;
  std::string words_;
  std::function<void(std::string_view)> on_errors_;
  bool ended_ = false;
};

}  // namespace ipcm::command
