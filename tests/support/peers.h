#pragma once

// Other processes for tests: forked processes that exchange lines with the test, and functions that examine a
// process.

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "ipcm/ipcm.h"
#include "os/descriptor.h"
#include "support/tidy.h"

namespace ipcm::test {

/// One end of the connection between a test and a process that it forked. Throws if a line can't be sent or
/// received.
class Lines {
 public:
  explicit Lines(os::UniqueFd socket) : socket_(std::move(socket)) {}
  void say(const std::string& line);
  /// Returns the next line. Throws when the other end is closed, or after kHang.
  std::string hear();

 private:
  os::UniqueFd socket_;
  std::string heard_;
};

/// A real process: a fork of the test that runs `body` and exits with the value that `body` returns, or 99 if
/// it throws. It shares only earlier state with the test, and never returns into it. Do not use CHECK in the
/// body: say() the values, and check them in the test. The destructor kills and reaps it.
class Forked {
 public:
  explicit Forked(const std::function<int(Lines& test)>& body);
  Forked(const Forked&) = delete;
  Forked& operator=(const Forked&) = delete;
  ~Forked();

  [[nodiscard]] Pid pid() const { return pid_; }
  void say(const std::string& line) { lines_.say(line); }
  std::string hear() { return lines_.hear(); }
  void kill(int signal);
  /// Waits until the process has ended, and leaves it a zombie.
  void await_end() const;
  /// Waits until the process has ended, and reaps it.
  ExitStatus wait();

 private:
  Pid pid_ = 0;
  Lines lines_;
  bool reaped_ = false;
};

/// Waits until that process has ended; a zombie counts as ended.
void await_end(Pid pid);
/// Waits until a file of that name exists; inotify on its directory wakes it.
void await_file(const std::string& path);
/// Waits until the descriptor is readable. Returns false after kHang.
[[nodiscard]] bool becomes_readable(int fd);
/// Waits until the process sleeps with nothing to do. A process that spins never does.
void await_idle(Pid pid);
/// Returns the children of this process, including zombies.
[[nodiscard]] std::vector<Pid> own_children();
/// Returns /proc/PID/cmdline with blanks instead of NUL bytes.
[[nodiscard]] std::string command_line(Pid pid);
/// Returns the targets of the descriptors of a process.
[[nodiscard]] std::vector<std::string> descriptors_of(Pid pid);
/// Returns the number of open descriptors of another process, without timers: an event loop makes its timer
/// only after it has waited for a while.
std::size_t count_descriptors(Pid pid);

/// Runs `work` while this process has a second thread.
void with_thread(const std::function<void()>& work);

/// A guard that redirects stderr of this process to a file.
class StderrInto {
 public:
  explicit StderrInto(const std::string& path);
  StderrInto(const StderrInto&) = delete;
  StderrInto& operator=(const StderrInto&) = delete;
  ~StderrInto();

 private:
  os::UniqueFd before_;
};

/// Waits until `count` messages have arrived, and returns all messages. Fewer fail the test.
std::vector<Message> collect(Client& client, std::size_t count);
/// The same, but returns their contents.
std::vector<std::string> collect_contents(Client& client, std::size_t count);
/// Serves the handle until `done`, or fails the test after kHang.
void dispatch_until(Handle& handle, const std::function<bool()>& done);

/// Returns options for the echo class of the boot binary, by exec.
[[nodiscard]] ServiceOptions exec_echo();

template <class T>
[[nodiscard]] bool contains(const std::vector<T>& all, const T& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}
[[nodiscard]] inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Returns the exception of `call`, which must be an E.
template <class E, class Call>
[[nodiscard]] E thrown_by(Call&& call) {
  try {
    call();
  } catch (const E& error) {
    return error;
  } catch (const std::exception& error) {
    FAIL("another exception was thrown: " << std::string(error.what()));
  }
  FAIL("nothing was thrown");
  std::abort();
}

/// Returns options for a service that answers each request with itself.
[[nodiscard]] inline ServiceOptions echoing() {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request& request) -> Answer { return request.raw(); };
  return options;
}

}  // namespace ipcm::test

namespace doctest {
template <class T>
struct StringMaker<std::vector<T>> {
  static String convert(const std::vector<T>& all) {
    String text = "{";
    for (const T& one : all) text += (text.size() > 1 ? String(", ") : String("")) + toString(one);
    return text + "}";
  }
};
template <>
struct StringMaker<ipcm::ExitStatus> {
  static String convert(const ipcm::ExitStatus& status) { return status.describe().c_str(); }
};
template <class T>
struct StringMaker<std::optional<T>> {
  static String convert(const std::optional<T>& value) {
    return value ? toString(*value) : String("nothing");
  }
};
template <>
struct StringMaker<ipcm::LaunchError::Phase> {
  static String convert(ipcm::LaunchError::Phase phase) { return ipcm::to_string(phase); }
};
}  // namespace doctest
