#include "os/process_statistics.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>

#include "os/process.h"
#include "support/tidy.h"
#include "unit/forked.h"

using namespace ipcm;
using namespace ipcm::os;
using ipcm::test::Tidy;
using State = ProcessStatistics::State;

TEST_CASE("process statistics: the name of a process may contain anything") {
  const auto found = statistics_in("7 (a) Z 1 (b)) T 1 7 7 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1 0", 100);
  REQUIRE(found);
  CHECK(found->state == State::stopped);
  CHECK(found->processor_time == std::chrono::seconds(2));
}

TEST_CASE("process statistics: a text that breaks off has none") {
  CHECK_FALSE(statistics_in("", 100));
  CHECK_FALSE(statistics_in("7 (a)", 100));
  CHECK_FALSE(statistics_in("7 (a) ", 100));
  CHECK_FALSE(statistics_in("7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 150", 100));
  CHECK_FALSE(statistics_in("7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 x 50 9", 100));
}

TEST_CASE_FIXTURE(
    Tidy, "process statistics: a child is seen to be stopped, and then a zombie; a reaped one is unknown") {
  const Pid pid = ::fork();
  if (pid == 0) {
    (void)::raise(SIGSTOP);
    ::_exit(0);
  }
  REQUIRE(pid > 0);
  const auto process = open_process(pid);
  REQUIRE(process);
  siginfo_t info{};
  REQUIRE(::waitid(P_PID, static_cast<id_t>(pid), &info, WSTOPPED | WNOWAIT) == 0);
  const auto stopped = proven_statistics(process->get());
  REQUIRE(stopped);
  CHECK(stopped->state == State::stopped);
  REQUIRE(::kill(pid, SIGCONT) == 0);
  REQUIRE(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) == 0);
  const auto zombie = proven_statistics(process->get());
  REQUIRE(zombie);
  CHECK(zombie->state == State::zombie);
  REQUIRE(::waitpid(pid, nullptr, 0) == pid);
  CHECK_FALSE(proven_statistics(process->get()));
  const auto self = process_statistics(own_pid());
  REQUIRE(self);
  CHECK(self->state == State::running);
}
