#include "os/clock.h"

#include <climits>

#include "support/tidy.h"

using namespace ipcm;
using namespace ipcm::os;
using namespace std::chrono_literals;
using ipcm::test::Tidy;

TEST_CASE_FIXTURE(Tidy, "deadline: never is never, passed has passed") {
  CHECK(Deadline::never().is_never());
  CHECK_FALSE(Deadline::never().has_passed());
  CHECK(Deadline::never().poll_timeout() == -1);
  CHECK(Deadline::passed().has_passed());
  CHECK_FALSE(Deadline::passed().is_never());
  CHECK(Deadline::passed().poll_timeout() == 0);
  CHECK(Deadline::passed() < Deadline::after(0s));
  CHECK(Deadline::after(24h) < Deadline::never());
}

TEST_CASE_FIXTURE(Tidy, "deadline: it is a point in time") {
  const auto before = Clock::now();
  const Deadline deadline = Deadline::after(1h);
  const auto after = Clock::now();
  CHECK(deadline.when() >= before + 1h);
  CHECK(deadline.when() <= after + 1h);
  CHECK_FALSE(deadline.has_passed());
  CHECK(Deadline::at(before).has_passed());
  CHECK(Deadline::at(before).when() == before);
}

TEST_CASE_FIXTURE(Tidy, "deadline: a span too long for the clock is never, a negative one has passed") {
  CHECK(Deadline::after(Duration::max()).is_never());
  CHECK(Deadline::after(Duration::max() - 1ns).is_never());  // at every time, even just after boot
  CHECK(Deadline::after(Duration::min()).has_passed());
  CHECK(Deadline::after(-1ns).has_passed());
  CHECK(Deadline::after(0ns).has_passed());
}

TEST_CASE_FIXTURE(Tidy, "deadline: for public calls zero is no limit") {
  CHECK(Deadline::limit(kNoLimit).is_never());
  CHECK(Deadline::limit(-1s).has_passed());
  CHECK_FALSE(Deadline::limit(1h).is_never());
  CHECK_FALSE(Deadline::limit(1h).has_passed());
}

TEST_CASE_FIXTURE(Tidy, "deadline: a wait is rounded up, and limited to the range of the kernel") {
  const Deadline soon = Deadline::at(Clock::now() + 100us);
  const int timeout = soon.poll_timeout();
  CHECK((timeout == 1 || soon.has_passed()));
  const int hour = Deadline::after(1h).poll_timeout();
  CHECK(hour <= 3'600'000);
  CHECK(hour > 3'500'000);
  CHECK(Deadline::after(std::chrono::hours(24 * 365)).poll_timeout() == INT_MAX);
}
