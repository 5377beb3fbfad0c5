#include "ready/ready.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <string>

#include "os/pipe.h"
#include "os/process.h"
#include "support/tidy.h"
#include "unit/expect.h"
#include "unit/forked.h"

using namespace ipcm;
using namespace ipcm::ready;
using ipcm::test::contains;
using ipcm::test::in_child;
using ipcm::test::Tidy;

namespace {

/// Returns the report of a listener for a text that arrives byte by byte and then ends.
Report report_of(std::string_view text, const std::string& name = {}) {
  Listener listener(name);
  for (const char byte : text)
    if (auto report = listener.feed(std::string_view(&byte, 1))) return *report;
  return listener.at_end();
}

std::string why_failed(const Report& report) {
  const auto* failed = std::get_if<Failed>(&report);
  return failed == nullptr ? "(not failed)" : failed->error;
}

/// The end of a notification socket that belongs to systemd.
class NotifySocket {
 public:
  explicit NotifySocket(const std::string& path)
      : path_(path), fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  NotifySocket(const NotifySocket&) = delete;
  NotifySocket& operator=(const NotifySocket&) = delete;
  ~NotifySocket() {
    ::unlink(path_.c_str());
    for (const char* variable : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(variable);
  }
  /// Returns the next notification; empty if there is none.
  [[nodiscard]] std::string next() const {
    std::array<char, 4096> text{};
    const ssize_t got = ::recv(fd_.get(), text.data(), text.size(), MSG_DONTWAIT);
    return got > 0 ? std::string(text.data(), static_cast<std::size_t>(got)) : std::string();
  }

 private:
  std::string path_;
  os::UniqueFd fd_;
};

}  // namespace

TEST_CASE_FIXTURE(Tidy, "ready: the ready line is a report as soon as its newline is there") {
  const std::string line = R"({"ready":true,"name":"s\u00fc","pid":123})";
  Listener listener;
  for (const char byte : line) REQUIRE_FALSE(listener.feed(std::string_view(&byte, 1)));
  const auto report = listener.feed("\n");
  REQUIRE(report);
  const auto* ready = std::get_if<Ready>(&*report);
  REQUIRE(ready != nullptr);
  CHECK(ready->name == "sü");
  CHECK(ready->pid == 123);
}

TEST_CASE_FIXTURE(Tidy, "ready: bytes after the line have no effect") {
  Listener listener;
  const auto report =
      listener.feed("{\"ready\":true,\"name\":\"a\",\"pid\":5}\n{\"ready\":false,\"error\":\"x\"}");
  REQUIRE(report);
  CHECK(std::holds_alternative<Ready>(*report));
}

TEST_CASE_FIXTURE(Tidy, "ready: name and pid need not be told; unknown keys are passed over") {
  const Report report = report_of("{\"ready\":1,\"future\":{\"name\":\"x\",\"pid\":7}}\n");
  const auto* ready = std::get_if<Ready>(&report);
  REQUIRE(ready != nullptr);
  CHECK(ready->name.empty());
  CHECK(ready->pid == 0);
}

TEST_CASE_FIXTURE(Tidy, "ready: digits may be a number or a string, as Perl has it") {
  const Report report = report_of("{\"ready\":\"1\",\"name\":7,\"pid\":\"123\"}\n");
  const auto* ready = std::get_if<Ready>(&report);
  REQUIRE(ready != nullptr);
  CHECK(ready->name == "7");
  CHECK(ready->pid == 123);
}

TEST_CASE_FIXTURE(Tidy, "ready: a failure is told at the end of file, with its words") {
  CHECK(why_failed(report_of(R"({"ready":false,"error":"no such class 'X'"})")) == "no such class 'X'");
  CHECK(why_failed(report_of("{\"ready\":false,\"error\":\"a\\nb\"}\n")) == "a\nb");
  CHECK(why_failed(report_of(R"({"error":"words","ready":0})")) == "words");
}

TEST_CASE_FIXTURE(Tidy, "ready: end of file without a word is silence") {
  CHECK(std::holds_alternative<Silent>(report_of("")));
  Listener listener;
  CHECK_FALSE(listener.feed(""));
  CHECK(std::holds_alternative<Silent>(listener.at_end()));
}

TEST_CASE_FIXTURE(Tidy, "ready: a bare newline counts as ready") {
  CHECK(std::holds_alternative<Ready>(report_of("\n")));
  CHECK(std::holds_alternative<Ready>(report_of("\n", "s")));
}

TEST_CASE_FIXTURE(Tidy, "ready: a line that is no JSON object with \"ready\":true is refused") {
  for (const std::string_view line :
       {"ok\n", " \n", "READY\n", "true\n", "[{\"ready\":true}]\n", "\"ready\"\n", "{\"name\":\"s\"}\n",
        "{\"ready\":true\n", "{\"ready\":true} x\n", "{\"ready\":null}\n", "{\"ready\":0}\n"})
    CHECK_MESSAGE(contains(why_failed(report_of(line, "s")), "where the ready line was expected"), line);
  const std::string shown = why_failed(report_of("\x1b[2J evil\n"));
  CHECK(contains(shown, "evil"));
  CHECK_FALSE(contains(shown, "\x1b"));
}

TEST_CASE_FIXTURE(Tidy, "ready: a line that names another service is refused; one without a name is not") {
  CHECK(std::holds_alternative<Ready>(report_of("{\"ready\":true}\n", "s")));
  CHECK(std::holds_alternative<Ready>(report_of("{\"ready\":true,\"name\":null}\n", "s")));
  CHECK(std::holds_alternative<Ready>(report_of("{\"ready\":true,\"name\":\"s\"}\n", "s")));
  CHECK(contains(why_failed(report_of("{\"ready\":true,\"name\":\"t\"}\n", "s")), "'t'"));
}

TEST_CASE_FIXTURE(Tidy, "G6: a service learns that its ready line has no reader") {
  CHECK(in_child([] {
          ::signal(SIGPIPE, SIG_IGN);
          os::Pipe pipe = os::make_pipe();
          pipe.read_end.reset();
          Announcer announcer(std::move(pipe.write_end), {});
          return announcer.ready("x") ? 1 : 0;
        }) == 0);
  // A service that was started without waiting has a read end itself.
  CHECK(in_child([] {
          os::Pipe pipe = os::make_pipe();
          os::UniqueFd both = os::open_both_ways(std::move(pipe.write_end));
          pipe.read_end.reset();
          Announcer announcer(std::move(both), {});
          return announcer.ready("x") ? 0 : 1;
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy, "ready: garbage before the end of file is a failure that shows it") {
  CHECK(contains(why_failed(report_of("Segmentation fault")), "'Segmentation fault'"));
  CHECK(contains(why_failed(report_of(R"({"ready":true,"name":"a")")), "where the ready line was expected"));
  CHECK(contains(why_failed(report_of(R"({"ready":true,"name":"a","pid":1})")),
                 "where the ready line was expected"));
  CHECK(contains(why_failed(report_of(std::string(1'000, '['))), "where the ready line was expected"));
  CHECK(contains(why_failed(report_of("\xff")), "where the ready line was expected"));
  CHECK(why_failed(report_of(std::string(10'000, 'x'))).size() < 400);
}

TEST_CASE_FIXTURE(Tidy, "ready: an object that says nothing of ready is a failure") {
  CHECK(contains(why_failed(report_of("{}\n")), "where the ready line was expected"));
  CHECK(contains(why_failed(report_of("{\"ready\":false}\n")), "where the ready line was expected"));
}

TEST_CASE_FIXTURE(Tidy, "ready: more than 64 KiB without a newline is a failure, before the end of file") {
  Listener listener;
  const std::string piece(1024, 'x');
  std::optional<Report> report;
  std::size_t pieces = 0;
  while (!report && pieces < 1000) {
    report = listener.feed(piece);
    ++pieces;
  }
  REQUIRE(report);
  CHECK(pieces == 65);
  CHECK(contains(why_failed(*report), "64 KiB"));
}

TEST_CASE_FIXTURE(Tidy, "ready: the launcher gets the announcement of the service") {
  os::Pipe pipe = os::make_pipe();
  Announcer announcer(std::move(pipe.write_end), {});
  (void)announcer.ready("s \"ü\"\n");
  const std::string text =
      os::read_all(pipe.read_end.get(), 4096, "ready pipe");  // returns because the write end is closed
  CHECK(text.find('\n') == text.size() - 1);
  const Report report = report_of(text);
  const auto* ready = std::get_if<Ready>(&report);
  REQUIRE(ready != nullptr);
  CHECK(ready->name == "s \"ü\"\n");
  CHECK(ready->pid == ::getpid());
  (void)announcer.ready("again");  // a second line is not sent
  announcer.failed("too late");
}

TEST_CASE_FIXTURE(Tidy, "ready: the announcement of a failure has no newline inside") {
  os::Pipe pipe = os::make_pipe();
  Announcer announcer(std::move(pipe.write_end), {});
  announcer.failed("bad \xff\nline");
  const std::string text = os::read_all(pipe.read_end.get(), 4096, "ready pipe");
  CHECK(text.find('\n') == std::string::npos);
  CHECK(why_failed(report_of(text)) == "bad \xef\xbf\xbd\nline");
}

TEST_CASE_FIXTURE(Tidy, "ready: an announcer without a listener is silent") {
  Announcer announcer;
  (void)announcer.ready("x");
  announcer.failed("y");
  announcer.stopping();
  announcer.alive();
  CHECK_FALSE(announcer.watchdog());
}

TEST_CASE_FIXTURE(Tidy, "ready: from ready on stderr leads where it should") {
  CHECK(in_child([] {
          os::Pipe early = os::make_pipe(), late = os::make_pipe(), ready = os::make_pipe();
          os::replace_standard_stream(early.write_end.get(), 2);
          early.write_end.reset();
          Announcer announcer(std::move(ready.write_end), std::move(late.write_end));
          os::write_all(2, "before", "stderr");
          (void)announcer.ready("x");
          os::write_all(2, "after", "stderr");
          ::close(2);
          const bool parted = os::read_all(early.read_end.get(), 100, "early") == "before" &&
                              os::read_all(late.read_end.get(), 100, "late") == "after";
          return parted ? 0 : 1;
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy, "ready: systemd is told, and its variables are removed") {
  const NotifySocket systemd(directory() + "/notify");
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  Announcer announcer;
  announcer.use_notify_socket();
  CHECK(std::getenv("NOTIFY_SOCKET") == nullptr);
  CHECK(std::getenv("WATCHDOG_USEC") == nullptr);
  CHECK(std::getenv("WATCHDOG_PID") == nullptr);
  CHECK(announcer.watchdog() == Duration(std::chrono::milliseconds(1500)));
  (void)announcer.ready("x");
  CHECK(contains(systemd.next(), "READY=1\n"));
  announcer.alive();
  CHECK(systemd.next() == "WATCHDOG=1\n");
  announcer.stopping();
  CHECK(systemd.next() == "STOPPING=1\n");
}

TEST_CASE_FIXTURE(
    Tidy, "ready: systemd is not told when a launcher listens, and a watchdog for others is not ours") {
  const NotifySocket systemd(directory() + "/notify");
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  {
    os::Pipe pipe = os::make_pipe();
    Announcer announcer(std::move(pipe.write_end), {});
    announcer.use_notify_socket();
    (void)announcer.ready("x");
    CHECK(systemd.next().empty());
    CHECK(std::getenv("NOTIFY_SOCKET") == nullptr);
  }
  ::setenv("NOTIFY_SOCKET", (directory() + "/notify").c_str(), 1);
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  Announcer announcer;
  announcer.use_notify_socket();
  CHECK_FALSE(announcer.watchdog());
}

TEST_CASE_FIXTURE(Tidy, "ready: the words of a failure are not taken by systemd for anything else") {
  const NotifySocket systemd(directory() + "/notify");
  Announcer announcer;
  announcer.use_notify_socket();
  announcer.failed("first line\nREADY=1\nMAINPID=1");
  const std::string told = "\n" + systemd.next();
  CHECK(contains(told, "\nSTATUS=first line"));
  CHECK_FALSE(contains(told, "\nREADY=1"));
  CHECK_FALSE(contains(told, "\nMAINPID"));
}
