#include "handoff/handoff.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "ipcm/error.h"
#include "os/pipe.h"
#include "os/spawn.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using namespace ipcm::handoff;
using namespace std::chrono_literals;
using ipcm::test::contains;
using ipcm::test::error_of;
using ipcm::test::Tidy;
using Action = CommandLine::Action;

namespace {

constexpr const char* kLeast =
    R"({"ipcm":1,"name":"n","class":"C","ipcm_info":["ConnectionUnix","JSON","/r"])";

/// Returns the smallest document with `more` keys.
std::string document(const std::string& more) { return kLeast + (more.empty() ? "" : "," + more) + "}"; }

std::string refusal(const std::string& json) {
  return error_of([&] { (void)read_parameters(json); });
}

CommandLine line_of(std::vector<const char*> words) {
  words.insert(words.begin(), "ipcm-boot");
  return read_command_line(static_cast<int>(words.size()), words.data());
}

std::string line_refusal(const std::vector<const char*>& words) {
  return error_of<UsageError>([&] { (void)line_of(words); });
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "handoff: parameters with all keys come back as they were") {
  Parameters parameters;
  parameters.name = "svc \"ü\"";
  parameters.class_name = "Echo";
  parameters.info = {"ConnectionUnix", "JSON", "/run/x"};
  parameters.watch_pids = {1, 4711, 2147483647};
  parameters.interval = 250ms;
  parameters.spin = 50us;
  parameters.intercept_errors = true;
  parameters.expose_error_details = true;
  parameters.redirect = {"/dev/null", "&2", "/tmp/e"};
  parameters.stay_in_begin = true;
  parameters.args = Content::json(R"({"a":[1.50,null]})");
  const std::string text = write_parameters(parameters);
  CHECK(std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
  const Parameters back = read_parameters(text);
  CHECK(back.name == parameters.name);
  CHECK(back.class_name == parameters.class_name);
  CHECK(back.info == parameters.info);
  CHECK(back.watch_pids == parameters.watch_pids);
  CHECK(back.interval == parameters.interval);
  CHECK(back.spin == parameters.spin);
  CHECK(back.intercept_errors);
  CHECK(back.expose_error_details);
  CHECK(back.redirect == parameters.redirect);
  CHECK(back.stay_in_begin);
  CHECK(back.args == parameters.args);
}

TEST_CASE_FIXTURE(Tidy, "handoff: keys that have their default are left out") {
  Parameters parameters;
  parameters.name = "n";
  parameters.class_name = "C";
  parameters.info = {"ConnectionUnix", "JSON", "/r"};
  CHECK(write_parameters(parameters) == document(""));
  const Parameters back = read_parameters(write_parameters(parameters));
  CHECK(back.watch_pids.empty());
  CHECK_FALSE(back.interval);
  CHECK_FALSE(back.intercept_errors);
  CHECK_FALSE(back.expose_error_details);
  CHECK(back.redirect == Redirect{});
  CHECK_FALSE(back.stay_in_begin);
  CHECK(back.args.is_null());
}

TEST_CASE_FIXTURE(Tidy, "handoff: an interval of whole milliseconds comes through exactly") {
  Parameters parameters;
  parameters.name = "n";
  parameters.class_name = "C";
  parameters.info = {"ConnectionUnix", "JSON", "/r"};
  int wrong = 0;
  for (int ms = 1; ms <= 2000; ++ms) {
    parameters.interval = std::chrono::milliseconds(ms);
    if (read_parameters(write_parameters(parameters)).interval != parameters.interval) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE_FIXTURE(Tidy, "handoff: the bus may be named by an array or by its text in a string") {
  const BusInfo expected{"ConnectionUnix", "JSON", "/r"};
  const std::string head = R"({"ipcm":1,"name":"n","class":"C","ipcm_info":)";
  CHECK(read_parameters(head + R"(["ConnectionUnix","JSON","/r"]})").info == expected);
  CHECK(read_parameters(head + R"("[\"ConnectionUnix\",\"JSON\",\"/r\"]"})").info == expected);
  CHECK(
      read_parameters(
          head + R"("[\"IPC::Manager::Client::ConnectionUnix\",\"IPC::Manager::Serializer::JSON\",\"/r\"]"})")
          .info == expected);
}

TEST_CASE_FIXTURE(Tidy, "handoff: Perl's typing is taken") {
  const Parameters read = read_parameters(
      R"({"ipcm":"1","name":7,"class":"C","ipcm_info":["a","b","c"],"watch_pids":["12",13],"interval":"0.5","intercept_errors":1,"expose_error_details":""})");
  CHECK(read.name == "7");
  CHECK(read.watch_pids == std::vector<Pid>{12, 13});
  CHECK(read.interval == 500ms);
  CHECK(read.intercept_errors);
  CHECK_FALSE(read.expose_error_details);
}

TEST_CASE_FIXTURE(Tidy, "handoff: args in raw UTF-8 become pure ASCII; null is none") {
  CHECK(read_parameters(document(R"("args":{"ü":"€"})")).args.json() == R"({"\u00fc":"\u20ac"})");
  CHECK(read_parameters(document(R"("args":null)")).args.is_null());
  CHECK(read_parameters(document(R"("interval":null)")).interval == std::nullopt);
}

TEST_CASE_FIXTURE(Tidy, "handoff: a missing key is named") {
  CHECK(contains(refusal(R"({"name":"n","class":"C","ipcm_info":["a","b","c"]})"),
                 "parameters: missing key 'ipcm'"));
  CHECK(contains(refusal(R"({"ipcm":1,"class":"C","ipcm_info":["a","b","c"]})"),
                 "parameters: missing key 'name'"));
  CHECK(contains(refusal(R"({"ipcm":1,"name":"n","ipcm_info":["a","b","c"]})"),
                 "parameters: missing key 'class'"));
  CHECK(contains(refusal(R"({"ipcm":1,"name":"n","class":"C"})"), "parameters: missing key 'ipcm_info'"));
}

TEST_CASE_FIXTURE(Tidy, "handoff: an unknown key is named") {
  CHECK(contains(refusal(document(R"("watch_pid":[1])")), "unknown key 'watch_pid'"));
  CHECK(contains(refusal(document(R"("redirect":{"stdot":"x"})")), "'redirect': unknown key 'stdot'"));
  CHECK(contains(refusal(document(R"("exec":{"stay":1})")), "'exec': unknown key 'stay'"));
  CHECK(read_parameters(document(R"("args":{"anything":1})")).args.json() == R"({"anything":1})");
}

TEST_CASE_FIXTURE(Tidy, "handoff: a wrong type is named by its key") {
  CHECK(contains(refusal(R"({"ipcm":1,"name":[],"class":"C","ipcm_info":["a","b","c"]})"),
                 "'name': expected a string"));
  CHECK(contains(refusal(document(R"("watch_pids":7)")), "'watch_pids': expected "));
  CHECK(contains(refusal(document(R"("watch_pids":[1,"x"])")), "'watch_pids[1]': expected an integer"));
  CHECK(contains(refusal(document(R"("interval":"soon")")), "'interval': expected a number"));
  CHECK(
      contains(refusal(document(R"("spin":1.5)")), "'spin': expected seconds, more than 0 and at most one"));
  CHECK(contains(refusal(document(R"("spin":-1)")), "'spin'"));
  CHECK(
      contains(refusal(document(R"("intercept_errors":"maybe")")), "'intercept_errors': expected a boolean"));
  CHECK(contains(refusal(document(R"("redirect":"x")")), "'redirect': expected "));
  CHECK(contains(refusal(document(R"("redirect":{"stdin":null})")), "'redirect.stdin': expected a string"));
  CHECK(contains(refusal(document(R"("exec":{"stay_in_begin":[]})")),
                 "'exec.stay_in_begin': expected a boolean"));
}

TEST_CASE_FIXTURE(Tidy, "handoff: a wrong name of the bus is named by its key") {
  for (const char* info :
       {"7", "null", "{}", "[]", R"(["a","b"])", R"(["a","b",3])", R"("x")", R"("")", R"("[]")"}) {
    CAPTURE(std::string(info));
    CHECK(contains(refusal(R"({"ipcm":1,"name":"n","class":"C","ipcm_info":)" + std::string(info) + "}"),
                   "ipcm_info"));
  }
}

TEST_CASE_FIXTURE(Tidy, "handoff: values that make no sense are refused by their key") {
  CHECK(
      contains(refusal(R"({"ipcm":1,"name":"","class":"C","ipcm_info":["a","b","c"]})"), "'name' is empty"));
  CHECK(
      contains(refusal(R"({"ipcm":1,"name":"n","class":"","ipcm_info":["a","b","c"]})"), "'class' is empty"));
  for (const char* pid : {"0", "-1"})
    CHECK(contains(refusal(document(R"("watch_pids":[)" + std::string(pid) + "]")), "'watch_pids'"));
  for (const char* seconds : {"0", "-1", "\"nan\"", "\"inf\""})
    CHECK(contains(refusal(document(R"("interval":)" + std::string(seconds))), "'interval': expected "));
}

TEST_CASE_FIXTURE(Tidy, "handoff: an interval that the clock can't hold is the longest that it can") {
  CHECK(read_parameters(document(R"("interval":1e9)")).interval == std::chrono::seconds(1'000'000'000));
  CHECK(read_parameters(document(R"("interval":1e300)")).interval == Duration::max());
  Parameters parameters = read_parameters(document(R"("interval":1)"));
  parameters.interval = Duration::max();
  CHECK(read_parameters(write_parameters(parameters)).interval == Duration::max());
}

TEST_CASE_FIXTURE(Tidy, "handoff: an interval too short for the clock does not become none") {
  try {
    CHECK(read_parameters(document(R"("interval":1e-10)")).interval > Duration(0));
  } catch (const ProtocolError& error) {
    CHECK(contains(error.what(), "'interval'"));
  }
}

TEST_CASE_FIXTURE(Tidy, "handoff: another version of the contract is refused as such") {
  const std::string text = refusal(R"({"ipcm":2,"nome":"n"})");
  CHECK(contains(text, "'ipcm'"));
  CHECK(contains(text, "version 1"));
  CHECK(contains(text, "not 2"));
}

TEST_CASE_FIXTURE(Tidy, "handoff: text that is no object is refused") {
  for (const char* text : {"", "null", "[]", "[1]", "\"x\"", "7", "{", "{}x"}) {
    CAPTURE(std::string(text));
    CHECK(contains(refusal(text), "parameters"));
  }
  CHECK(contains(refusal(document(R"("name":"m")")), "'name' twice"));
}

TEST_CASE_FIXTURE(Tidy, "command line: parameters stand on it or come by descriptor") {
  const auto plain = line_of({"{}"});
  CHECK(plain.action == Action::boot);
  CHECK(plain.params == "{}");
  CHECK_FALSE(plain.ready_fd);
  CHECK_FALSE(plain.params_fd);
  for (const auto& words : std::vector<std::vector<const char*>>{{"--ready-fd", "5", "--params-fd", "7"},
                                                                 {"--ready-fd=5", "--params-fd=7"},
                                                                 {"--params-fd", "7", "--ready-fd=5"}}) {
    const auto line = line_of(words);
    CHECK(line.action == Action::boot);
    CHECK(line.ready_fd == 5);
    CHECK(line.params_fd == 7);
    CHECK_FALSE(line.params);
  }
  const auto both = line_of({"{\"a\":\"--x=y\"}", "--ready-fd", "3"});
  CHECK(both.params == "{\"a\":\"--x=y\"}");
  CHECK(both.ready_fd == 3);
}

TEST_CASE_FIXTURE(Tidy, "command line: two dashes end the options") {
  CHECK(line_of({"--", "--help"}).params == "--help");
  CHECK(line_of({"--ready-fd=3", "--", "-x=1"}).params == "-x=1");
}

TEST_CASE_FIXTURE(Tidy, "command line: lists and help need no parameters") {
  CHECK(line_of({"--list"}).action == Action::list);
  CHECK(line_of({"--list", "--json"}).action == Action::list_json);
  CHECK(line_of({"--json", "--list"}).action == Action::list_json);
  CHECK(line_of({"--help"}).action == Action::help);
  CHECK(line_of({"-h"}).action == Action::help);
}

TEST_CASE_FIXTURE(Tidy, "command line: an error names the mistake") {
  CHECK(contains(line_refusal({}), "no parameters"));
  CHECK(contains(line_refusal({"--ready-fd", "3"}), "no parameters"));
  CHECK(contains(line_refusal({"{}", "{}"}), "second"));
  CHECK(contains(line_refusal({"{}", "--params-fd", "3"}), "not both"));
  CHECK(contains(line_refusal({"--json", "{}"}), "--list"));
  CHECK(contains(line_refusal({"{}", "--verbose"}), "unknown option '--verbose'"));
  CHECK(contains(line_refusal({"{}", "-x"}), "unknown option '-x'"));
  CHECK(contains(line_refusal({"{}", "-"}), "unknown option '-'"));
  CHECK(contains(line_refusal({"--list=yes"}), "unknown option"));
  CHECK(contains(line_refusal({"{}", "--ready-fd"}), "--ready-fd wants the number"));
  for (const char* number : {"", "x", "-1", "3x", " 3", "99999999999", "0x3", "3.0"}) {
    CAPTURE(std::string(number));
    CHECK(contains(line_refusal({"{}", "--ready-fd", number}), "--ready-fd wants the number"));
    CHECK(contains(line_refusal({"--params-fd", number}), "--params-fd wants the number"));
  }
  CHECK(contains(line_refusal({"{}", "--ready-fd="}), "--ready-fd wants the number"));
}

TEST_CASE_FIXTURE(Tidy,
                  "handoff: descriptors that came along are made close-on-exec and their variables removed") {
  os::Pipe ready = os::make_pipe(), leash = os::make_pipe(), real = os::make_pipe();
  const int ready_fd = ready.write_end.release(), leash_fd = leash.read_end.release(),
            real_fd = real.write_end.release();
  for (const int fd : {ready_fd, leash_fd, real_fd}) REQUIRE(::fcntl(fd, F_SETFD, 0) == 0);
  ::setenv(kLeashVariable, std::to_string(leash_fd).c_str(), 1);
  ::setenv(kStderrVariable, std::to_string(real_fd).c_str(), 1);
  CommandLine line;
  line.ready_fd = ready_fd;
  const Inherited inherited = take_inherited(line);
  CHECK(inherited.ready.get() == ready_fd);
  CHECK(inherited.leash.get() == leash_fd);
  CHECK(inherited.real_stderr.get() == real_fd);
  for (const int fd : {ready_fd, leash_fd, real_fd}) CHECK(::fcntl(fd, F_GETFD) == FD_CLOEXEC);
  CHECK(std::getenv(kLeashVariable) == nullptr);
  CHECK(std::getenv(kStderrVariable) == nullptr);
}

TEST_CASE_FIXTURE(Tidy, "handoff: a log comes with the streams that lead there") {
  for (const std::string streams : {"", ",1", ",2", ",1,2"}) {
    os::Pipe pipe = os::make_pipe();
    const int fd = pipe.write_end.release();
    ::setenv(kLogVariable, (std::to_string(fd) + streams).c_str(), 1);
    const Inherited inherited = take_inherited({});
    CHECK(inherited.log.get() == fd);
    CHECK(inherited.log_out == contains(streams, "1"));
    CHECK(inherited.log_err == contains(streams, "2"));
    CHECK(std::getenv(kLogVariable) == nullptr);
  }
  for (const char* stale : {"x", ",1,2", "99999,1", "2,1"}) {
    ::setenv(kLogVariable, stale, 1);
    const Inherited inherited = take_inherited({});
    CHECK_FALSE(inherited.log);
    CHECK_FALSE(inherited.log_out);
    CHECK_FALSE(inherited.log_err);
  }
}

TEST_CASE_FIXTURE(Tidy, "handoff: stale variables are passed over, a closed ready descriptor is not") {
  for (const char* stale : {"", "x", "-1", "1", "2", "99999", "3x", "999999999999"}) {
    CAPTURE(std::string(stale));
    ::setenv(kLeashVariable, stale, 1);
    const Inherited inherited = take_inherited({});
    CHECK_FALSE(inherited.leash);
    CHECK(std::getenv(kLeashVariable) == nullptr);
  }
  CHECK(::fcntl(2, F_GETFD) == 0);
  CommandLine line;
  line.ready_fd = 99'999;
  CHECK(contains(error_of<UsageError>([&] { (void)take_inherited(line); }),
                 "--ready-fd: descriptor 99999 is not open"));
}

TEST_CASE_FIXTURE(Tidy, "handoff: parameters are taken from the line or read to the end of a descriptor") {
  CommandLine line;
  line.params = "{}";
  CHECK(take_parameters(line, {}) == "{}");
  const std::string large(300'000, 'x');
  CommandLine by_file;
  by_file.params_fd = os::make_sealed_memory_file("params", large).release();
  CHECK(take_parameters(by_file, {}) == large);
  CHECK_FALSE(os::is_open(*by_file.params_fd));
  CHECK(contains(error_of<UsageError>([&] { (void)take_parameters(by_file, {}); }), "is not open"));
}

TEST_CASE_FIXTURE(Tidy, "handoff: parameters that come whole through a pipe are waited for to its end") {
  os::Pipe pipe = os::make_pipe();
  os::write_all(pipe.write_end.get(), "{}", "pipe");
  pipe.write_end.reset();
  ::setenv(kWholeVariable, "1", 1);
  CommandLine line;
  line.params_fd = pipe.read_end.release();
  CHECK(take_parameters(line, {}) == "{}");
  CHECK(std::getenv(kWholeVariable) == nullptr);
  // The variable may also be set when the parameters are in a file, for example in a fallback. Nothing waits
  // for the end of a file.
  ::setenv(kWholeVariable, "1", 1);
  line.params_fd = os::make_sealed_memory_file("params", "{}").release();
  CHECK(take_parameters(line, {}) == "{}");
}

TEST_CASE_FIXTURE(Tidy, "handoff: parameters are waited for as long as the launcher lives") {
  os::SpawnRequest request;
  request.program = "/bin/sh";
  request.args = {"sh", "-c", "exit 0"};
  auto launcher = std::get<os::Child>(os::spawn(request));
  const os::UniqueFd leash = os::duplicate(launcher.pidfd());
  os::Pipe pipe = os::make_pipe();  // this process keeps the write end open
  CommandLine line;
  line.params_fd = pipe.read_end.release();
  CHECK(contains(error_of<UsageError>([&] { (void)take_parameters(line, leash); }),
                 "the launcher ended before"));
}
