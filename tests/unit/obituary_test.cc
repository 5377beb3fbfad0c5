// The files of obituaries: a reader gets all that was written, and a writer replaces only what knows less.

#include <sys/stat.h>

#include <vector>

#include "bus/obituary_file.h"
#include "forked.h"
#include "os/directory.h"
#include "support/tidy.h"

using namespace ipcm;
using namespace ipcm::bus;
using ipcm::test::Tidy;

namespace {

constexpr const char* kFile = ".svc.obituary";

Obituary of_process(Pid pid, std::optional<ExitStatus> status = {}) {
  Obituary one;
  one.name = "svc";
  one.class_name = "Class";
  one.pid = pid;
  one.ended = Obituary::TimePoint(std::chrono::seconds(1'800'000'000));
  one.status = status;
  if (!status) one.why_unknown = "nobody saw it";
  return one;
}

/// The bus of these tests: a directory that a peer has made.
struct Place : Tidy {
  Place() : bus(directory()) {}
  ~Place() {
    for (const std::string& file : bus.names()) bus.remove_file(file);
  }
  [[nodiscard]] std::optional<Obituary> read() const { return read_obituary(bus, kFile); }
  os::Directory bus;
};

}  // namespace

TEST_CASE_FIXTURE(Place, "obituary: all that is written is read, and only its user can read it") {
  Obituary written = of_process(47, ExitStatus::signalled(11, true));
  written.started = written.ended - std::chrono::milliseconds(1500);
  written.last_words = "one\nmore \"words\" \\ \xC3\xA4";
  REQUIRE(write_obituary(bus, kFile, written));
  struct stat facts {};
  REQUIRE(::stat((directory() + "/" + kFile).c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777U) == 0600U);
  const auto read_back = read();
  REQUIRE(read_back);
  CHECK(read_back->name == "svc");
  CHECK(read_back->class_name == "Class");
  CHECK(read_back->pid == 47);
  CHECK(read_back->status == ExitStatus::signalled(11, true));
  CHECK(read_back->last_words == written.last_words);
  CHECK(read_back->last_line() == "more \"words\" \\ \xC3\xA4");
  CHECK(read_back->ended - *read_back->started > std::chrono::milliseconds(1499));
  CHECK(read_back->how() == "killed by signal 11 (SIGSEGV), core dumped");
  CHECK(bus.names() == std::vector<std::string>{kFile});
}

TEST_CASE_FIXTURE(Place, "obituary: how tells a status, a signal without a name, and what is unknown") {
  CHECK(of_process(1, ExitStatus::exited(3)).how() == "exited with status 3");
  CHECK(of_process(1, ExitStatus::signalled(40)).how() == "killed by signal 40");
  CHECK(of_process(1).how() == "status unknown");
}

TEST_CASE_FIXTURE(
    Place, "obituary: a known status replaces an unknown one of the same process, and never the reverse") {
  Obituary unknown = of_process(47);
  unknown.started = unknown.ended - std::chrono::seconds(60);
  unknown.last_words = "goodbye";
  REQUIRE(write_obituary(bus, kFile, unknown));
  CHECK_FALSE(read()->status);
  REQUIRE(write_obituary(bus, kFile, of_process(47, ExitStatus::exited(3))));
  CHECK(read()->status == ExitStatus::exited(3));
  CHECK(read()->why_unknown.empty());
  CHECK(read()->started.has_value());  // what only the former knew
  CHECK(read()->last_words == "goodbye");
  REQUIRE(write_obituary(bus, kFile, unknown));
  CHECK(read()->status == ExitStatus::exited(3));
  CHECK(bus.names() == std::vector<std::string>{kFile});
}

TEST_CASE_FIXTURE(Place,
                  "obituary: the next process of that name replaces it, with a known status or without") {
  REQUIRE(write_obituary(bus, kFile, of_process(47, ExitStatus::exited(3))));
  REQUIRE(write_obituary(bus, kFile, of_process(48)));
  CHECK(read()->pid == 48);
  CHECK_FALSE(read()->status);
  REQUIRE(write_obituary(bus, kFile, of_process(49, ExitStatus::signalled(9))));
  CHECK(read()->pid == 49);
  // The same pid, and another start: another process.
  Obituary first = of_process(50, ExitStatus::exited(1)), second = of_process(50);
  first.started = first.ended - std::chrono::hours(2);
  second.started = second.ended - std::chrono::hours(1);
  REQUIRE(write_obituary(bus, kFile, first));
  REQUIRE(write_obituary(bus, kFile, second));
  CHECK_FALSE(read()->status);
  CHECK(bus.names() == std::vector<std::string>{kFile});
}

TEST_CASE_FIXTURE(Place, "obituary: a late one does not replace that of a successor") {
  Obituary successor = of_process(48, ExitStatus::exited(3)), late = of_process(47, ExitStatus::exited(1));
  late.ended = successor.ended - std::chrono::seconds(30);
  successor.started = successor.ended - std::chrono::seconds(20);
  REQUIRE(write_obituary(bus, kFile, successor));
  CHECK_FALSE(write_obituary(bus, kFile, late));
  CHECK(read()->pid == 48);
}

TEST_CASE_FIXTURE(
    Place, "obituary: of many writers at once, one that knows the status wins, and the file is whole") {
  constexpr int kRounds = 200, kWriters = 6;
  for (int round = 0; round < kRounds; ++round) {
    const Pid pid = 1000 + round;  // each round is the death of a successor
    Obituary known = of_process(pid, ExitStatus::signalled(9));
    known.last_words = std::string(kLongestLastWords, 'w');
    std::vector<pid_t> writers;
    for (int i = 0; i < kWriters; ++i) {
      writers.push_back(::fork());
      if (writers.back() != 0) continue;
      int status = 1;
      try {
        const os::Directory own(directory());
        status = write_obituary(own, kFile, i % 2 == 0 ? of_process(pid) : known) ? 0 : 2;
      } catch (const std::exception&) {
        status = 3;
      }
      ::_exit(status);
    }
    for (const pid_t writer : writers) {
      int status = -1;
      REQUIRE(::waitpid(writer, &status, 0) == writer);
      CHECK(status == 0);
    }
    const auto last = read();
    REQUIRE(last);
    REQUIRE(last->pid == pid);
    REQUIRE(last->status == ExitStatus::signalled(9));
    REQUIRE(last->last_words.size() == kLongestLastWords);
    REQUIRE(bus.names() == std::vector<std::string>{kFile});
  }
}

TEST_CASE_FIXTURE(Place, "obituary: a bus keeps the newest, and at most 256") {
  const auto file_of = [](int i) { return ".svc" + std::to_string(i) + ".obituary"; };
  for (int i = 0; i < 300; ++i) {
    REQUIRE(write_obituary(bus, file_of(i), of_process(i + 1)));
    // The order of the files is that of their times, whose unit is a tick of the kernel.
    const timespec times[2] = {{1000 + i, 0}, {1000 + i, 0}};
    REQUIRE(::utimensat(AT_FDCWD, (directory() + "/" + file_of(i)).c_str(), times, 0) == 0);
  }
  CHECK(bus.names().size() == kMostObituaries);
  CHECK_FALSE(read_obituary(bus, file_of(0)));
  CHECK(read_obituary(bus, file_of(299)));
}

TEST_CASE_FIXTURE(Place, "obituary: a file that is none is no obituary, whatever is in it") {
  for (const char* text :
       {"", "{", "[]", "7", R"({"name":"svc"})", R"({"ended":5})", R"({"name":7,"ended":"x"})",
        R"({"name":"svc","ended":1e300})", R"({"name":"svc","ended":-1})",
        R"({"name":"svc","ended":1,"pid":-4})", R"({"name":"svc","ended":1,"status":256})",
        R"({"name":"svc","ended":1,"signal":0})", R"({"name":"svc","ended":1,"pid":99999999999})",
        R"({"name":"svc","ended":1,"last_words":[1]})"}) {
    CAPTURE(text);
    bus.write_file(kFile, text, 0600);
    CHECK_FALSE(read());
  }
  bus.write_file(kFile, R"({"name":"svc","ended":1,"pid":4,"later":{"key":[1]}})", 0600);
  CHECK(read());
  bus.write_file(kFile, std::string(1U << 20U, 'x'), 0600);
  CHECK_FALSE(read());
  REQUIRE(write_obituary(bus, kFile, of_process(47)));  // and it is replaced
  CHECK(read()->pid == 47);
}
