#include "os/time_limit.h"

#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "support/tidy.h"

using namespace ipcm;
using namespace ipcm::os;
using namespace std::chrono_literals;

TEST_CASE("time limit: the innermost scope counts, and ends with its block") {
  CHECK(TimeLimit::current().is_never());
  const auto far = Deadline::after(10s), near = Deadline::after(1s);
  {
    const TimeLimit outer(near);
    CHECK(TimeLimit::current().when() == near.when());
    {
      const TimeLimit inner(far);
      CHECK(TimeLimit::current().when() == far.when());
    }
    CHECK(TimeLimit::current().when() == near.when());
  }
  CHECK(TimeLimit::current().is_never());
}

TEST_CASE("time limit: a wait ends by its own limit or by the caller's, whichever comes first") {
  const auto before = Clock::now();
  CHECK(limited(5s).when() >= before + 5s);
  const TimeLimit limit(Deadline::at(before + 2s));
  CHECK(limited(5s).when() == before + 2s);
  CHECK(limited(1s).when() < before + 2s);
  const TimeLimit passed{Deadline::passed()};
  CHECK(limited(5s).has_passed());
  CHECK(limited(5s, 1s).when() >= before + 1s);  // `shortest` counts in spite of the limit
}

TEST_CASE("time limit: it belongs to one thread, and a forked process has none") {
  const TimeLimit limit{Deadline::passed()};
  bool never = false;
  std::thread([&] { never = TimeLimit::current().is_never(); }).join();
  CHECK(never);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(TimeLimit::current().is_never() ? 0 : 1);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(TimeLimit::current().has_passed());
}
