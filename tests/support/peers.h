#pragma once

// Other processes for tests: forked ones that talk with the test line by line, and ways to look at any
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

/// One end of a conversation between a test and a process that it forked. Throws if a line can't be sent or
/// received.
class Lines {
 public:
  explicit Lines(os::UniqueFd socket) : socket_(std::move(socket)) {}
  void say(const std::string& line);
  /// The next line; throws when the other end is closed, or after kHang.
  std::string hear();

 private:
  os::UniqueFd socket_;
  std::string heard_;
};

/// A real process: a fork of the test that runs `body` and exits with what it returns; 99 if it throws. It
/// shares nothing with the test but what was there before, and never returns into it. Do not CHECK in the
/// body: say() what is to be checked. Killed and reaped at the end at the latest.
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
  /// Waits until it has ended, and leaves it a zombie.
  void await_end() const;
  /// Waits until it has ended, and reaps it.
  ExitStatus wait();

 private:
  Pid pid_ = 0;
  Lines lines_;
  bool reaped_ = false;
};

/// Waits until that process has ended (a zombie has).
void await_end(Pid pid);
/// Waits until a file of that name exists; inotify on its directory wakes it.
void await_file(const std::string& path);
/// Waits until the descriptor is readable; false: the hang guard was over first.
[[nodiscard]] bool becomes_readable(int fd);
/// Waits until it sleeps with nothing to do. A process that spins never does.
void await_idle(Pid pid);
/// The children of this process, zombies included.
[[nodiscard]] std::vector<Pid> own_children();
/// /proc/PID/cmdline, its NULs turned into blanks.
[[nodiscard]] std::string command_line(Pid pid);
/// Where the descriptors of a process lead.
[[nodiscard]] std::vector<std::string> descriptors_of(Pid pid);
/// How many descriptors another process has open, but for timers: an event loop makes its own when it has
/// waited for a while.
std::size_t count_descriptors(Pid pid);

/// Does `work` while this process has a second thread.
void with_thread(const std::function<void()>& work);

/// Sends this process's stderr into a file for as long as it lives.
class StderrInto {
 public:
  explicit StderrInto(const std::string& path);
  StderrInto(const StderrInto&) = delete;
  StderrInto& operator=(const StderrInto&) = delete;
  ~StderrInto();

 private:
  os::UniqueFd before_;
};

/// Waits for messages until `count` have come, and returns all there are; fewer fail the test.
std::vector<Message> collect(Client& client, std::size_t count);
/// The same, and their contents.
std::vector<std::string> collect_contents(Client& client, std::size_t count);
/// Serves the handle until `done`, or fails the test after kHang.
void dispatch_until(Handle& handle, const std::function<bool()>& done);

/// Options for the boot binary's echo class, by exec.
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

/// A service that answers each request with itself.
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
