#include "loop/loop.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/error.h"
#include "loop/recovery.h"
#include "os/pipe.h"
#include "support/tidy.h"
#include "unit/forked.h"

using namespace ipcm;
using namespace std::chrono_literals;
using ipcm::test::in_child;
using ipcm::test::kHang;
using ipcm::test::Tidy;
using os::Clock;
using os::Deadline;

namespace {

/// Returns a pipe with a byte in it.
os::Pipe full_pipe() {
  os::Pipe pipe = os::make_pipe();
  os::write_all(pipe.write_end.get(), "x", "pipe");
  return pipe;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "loop: a callback runs when its descriptor is ready, and again while it is") {
  Loop loop;
  const os::Pipe pipe = os::make_pipe();
  std::vector<std::uint32_t> seen;
  const Watch watch =
      loop.watch(pipe.read_end.get(), EPOLLIN, [&](std::uint32_t events) { seen.push_back(events); });
  CHECK_FALSE(loop.turn(Deadline::passed()));
  CHECK(loop.turns() == 0);
  os::write_all(pipe.write_end.get(), "x", "pipe");
  CHECK(loop.turn(Deadline::after(kHang)));
  CHECK(loop.turn(Deadline::passed()));
  CHECK(seen == std::vector<std::uint32_t>{EPOLLIN, EPOLLIN});
  std::string got;
  (void)os::read_some(pipe.read_end.get(), got, 10, "pipe");
  CHECK_FALSE(loop.turn(Deadline::passed()));
  CHECK(loop.turns() == 2);
}

TEST_CASE_FIXTURE(Tidy, "loop: the end of the other side is an event") {
  Loop loop;
  os::Pipe pipe = os::make_pipe();
  std::uint32_t seen = 0;
  const Watch watch = loop.watch(pipe.read_end.get(), EPOLLIN, [&](std::uint32_t events) { seen = events; });
  pipe.write_end.reset();
  CHECK(loop.turn(Deadline::after(kHang)));
  CHECK((seen & EPOLLHUP) != 0);
}

TEST_CASE_FIXTURE(Tidy, "loop: a Watch that no longer wants events gets none, not even a hang-up") {
  Loop loop;
  os::Pipe pipe = os::make_pipe();
  int runs = 0;
  Watch watch = loop.watch(pipe.read_end.get(), EPOLLIN, [&](std::uint32_t) { ++runs; });
  watch.want(0);
  watch.want(0);
  pipe.write_end.reset();
  CHECK_FALSE(loop.turn(Deadline::passed()));
  watch.want(EPOLLIN);
  CHECK(loop.turn(Deadline::after(kHang)));
  CHECK(runs == 1);
  watch.want(0);
  watch.stop();
  CHECK_FALSE(loop.turn(Deadline::passed()));
}

TEST_CASE_FIXTURE(Tidy, "loop: a Watch without events from the start gets none, not even a hang-up") {
  Loop loop;
  os::Pipe pipe = os::make_pipe();
  int runs = 0;
  Watch watch = loop.watch(pipe.read_end.get(), 0, [&](std::uint32_t) { ++runs; });
  pipe.write_end.reset();
  CHECK_FALSE(loop.turn(Deadline::passed()));
  CHECK(runs == 0);
  watch.want(EPOLLIN);
  CHECK(loop.turn(Deadline::after(kHang)));
  CHECK(runs == 1);
}

TEST_CASE_FIXTURE(Tidy, "loop: a Watch can want other events from now on") {
  Loop loop;
  const os::Pipe pipe = full_pipe();
  int runs = 0;
  Watch watch = loop.watch(pipe.read_end.get(), 0, [&](std::uint32_t) { ++runs; });
  CHECK_FALSE(loop.turn(Deadline::passed()));
  watch.want(EPOLLIN);
  CHECK(loop.turn(Deadline::passed()));
  watch.want(0);
  CHECK_FALSE(loop.turn(Deadline::passed()));
  CHECK(runs == 1);
}

TEST_CASE_FIXTURE(Tidy,
                  "loop: after a Watch has ended its callback does not run, and its captures are destroyed") {
  Loop loop;
  const os::Pipe pipe = full_pipe();
  const auto held = std::make_shared<int>(0);
  std::optional<Watch> watch = loop.watch(pipe.read_end.get(), EPOLLIN, [held](std::uint32_t) { ++*held; });
  CHECK(held.use_count() == 2);
  watch.reset();
  CHECK(held.use_count() == 1);
  CHECK_FALSE(loop.turn(Deadline::passed()));
  CHECK(*held == 0);
  // The next watch can use the descriptor.
  const Watch next = loop.watch(pipe.read_end.get(), EPOLLIN, [held](std::uint32_t) { ++*held; });
  CHECK(loop.turn(Deadline::passed()));
  CHECK(*held == 1);
}

TEST_CASE_FIXTURE(Tidy, "loop: a callback may end its own Watch, and still completes safely") {
  Loop loop;
  const os::Pipe pipe = full_pipe();
  std::optional<Watch> watch;
  const auto text = std::make_shared<std::string>("still here");
  std::string seen;
  watch = loop.watch(pipe.read_end.get(), EPOLLIN, [&watch, &seen, text](std::uint32_t) {
    watch.reset();
    seen += *text;  // the captures are still alive
  });
  CHECK(loop.turn(Deadline::after(kHang)));
  CHECK(seen == "still here");
  CHECK_FALSE(loop.turn(Deadline::passed()));
  CHECK(text.use_count() == 1);
}

TEST_CASE_FIXTURE(Tidy, "loop: a Watch dropped by another's callback does not run, though it was due") {
  Loop loop;
  const os::Pipe a = full_pipe(), b = full_pipe();
  std::optional<Watch> first, second;
  int runs = 0;
  first = loop.watch(a.read_end.get(), EPOLLIN, [&](std::uint32_t) { ++runs, second.reset(); });
  second = loop.watch(b.read_end.get(), EPOLLIN, [&](std::uint32_t) { ++runs, first.reset(); });
  CHECK(loop.turn(Deadline::after(kHang)));
  CHECK(runs == 1);
  CHECK(first.has_value() != second.has_value());
}

TEST_CASE_FIXTURE(Tidy,
                  "loop: a Watch made anew for a descriptor that was due does not get the old one's event") {
  Loop loop;
  const os::Pipe a = full_pipe(), b = full_pipe();
  std::vector<Watch> watches(2);
  std::string seen;
  const auto replace = [&](std::size_t other, int fd) {
    watches[other].stop();
    watches[other] = loop.watch(fd, 0, [&](std::uint32_t) { seen += "new"; });
  };
  watches[0] = loop.watch(a.read_end.get(), EPOLLIN,
                          [&](std::uint32_t) { seen += "old", replace(1, b.read_end.get()); });
  watches[1] = loop.watch(b.read_end.get(), EPOLLIN,
                          [&](std::uint32_t) { seen += "old", replace(0, a.read_end.get()); });
  CHECK(loop.turn(Deadline::after(kHang)));
  CHECK(seen == "old");
}

TEST_CASE_FIXTURE(Tidy, "loop: a Watch that is moved goes on") {
  Loop loop;
  const os::Pipe pipe = full_pipe();
  int runs = 0;
  Watch first = loop.watch(pipe.read_end.get(), EPOLLIN, [&](std::uint32_t) { ++runs; });
  CHECK(first);
  Watch second = std::move(first);
  CHECK(second);
  CHECK(loop.turn(Deadline::passed()));
  CHECK(runs == 1);
  second = Watch();
  CHECK_FALSE(second);
  CHECK_FALSE(loop.turn(Deadline::passed()));
}

TEST_CASE_FIXTURE(Tidy, "loop: a descriptor can be watched once; regular files not at all") {
  Loop loop;
  const os::Pipe pipe = full_pipe();
  const Watch watch = loop.watch(pipe.read_end.get(), EPOLLIN, [](std::uint32_t) {});
  CHECK_THROWS_AS((void)loop.watch(pipe.read_end.get(), EPOLLIN, [](std::uint32_t) {}), SystemError);
  CHECK_THROWS_AS((void)loop.watch(-1, EPOLLIN, [](std::uint32_t) {}), SystemError);
  const os::UniqueFd file = os::make_sealed_memory_file("x", "x");
  CHECK_THROWS_AS((void)loop.watch(file.get(), EPOLLIN, [](std::uint32_t) {}), SystemError);
  CHECK(loop.turn(Deadline::passed()));
}

TEST_CASE_FIXTURE(
    Tidy, "loop: timers fire in the order of their times, those of one time in the order they were set") {
  Loop loop;
  const auto start = Clock::now();
  std::string order;
  std::vector<Clock::duration> late;
  const auto timer = [&](const char* name, Clock::duration after) {
    return loop.at(start + after, [&order, &late, name, start, after] {
      order += name;
      late.push_back(Clock::now() - start - after);
    });
  };
  const Watch c = timer("c", 3ms), a = timer("a", 1ms), b = timer("b", 2ms), a2 = timer("A", 1ms),
              past = timer("0", -1h);
  CHECK(loop.run_until([&] { return order.size() == 5; }, Deadline::after(kHang)));
  CHECK(order == "0aAbc");
  for (const auto span : late) CHECK(span >= 0ns);  // never early
  CHECK_FALSE(loop.turn(Deadline::passed()));       // each fires once
}

TEST_CASE_FIXTURE(Tidy, "loop: a timer that was dropped does not fire") {
  Loop loop;
  std::string order;
  const auto now = Clock::now();
  std::optional<Watch> second;
  const Watch first = loop.at(now, [&] {
    order += "1";
    second.reset();
  });
  second = loop.at(now, [&] { order += "2"; });
  Watch early = loop.at(now - 1s, [&] { order += "0"; });
  early.stop();
  const Watch third = loop.at(now, [&] { order += "3"; });
  CHECK(loop.run_until([&] { return order.size() >= 2; }, Deadline::after(kHang)));
  CHECK(order == "13");
}

TEST_CASE_FIXTURE(Tidy, "loop: a timer may set itself again, and stop itself") {
  Loop loop;
  int ticks = 0;
  Watch watch;
  std::function<void()> tick = [&] {
    watch.stop();
    if (++ticks < 5) watch = loop.at(Clock::now() + 1ms, tick);
  };
  watch = loop.at(Clock::now(), tick);
  CHECK(loop.run_until([&] { return ticks == 5; }, Deadline::after(kHang)));
  CHECK_FALSE(watch);
}

TEST_CASE_FIXTURE(Tidy, "loop: timers far away and for ever do no harm") {
  Loop loop;
  bool fired = false;
  const Watch never = loop.at(Clock::time_point::max(), [] { FAIL("too early"); });
  const Watch far = loop.at(Clock::now() + std::chrono::hours(24 * 365), [] { FAIL("too early"); });
  const Watch first = loop.at(Clock::time_point::min(), [&] { fired = true; });
  CHECK(loop.run_until([&] { return fired; }, Deadline::after(kHang)));
  CHECK_FALSE(loop.turn(Deadline::passed()));
}

TEST_CASE_FIXTURE(Tidy, "loop: run_until asks first, and ends at its deadline") {
  Loop loop;
  CHECK(loop.run_until([] { return true; }, Deadline::passed()));
  CHECK(loop.turns() == 0);
  const auto start = Clock::now();
  CHECK_FALSE(loop.run_until([] { return false; }, Deadline::at(start + 5ms)));
  CHECK(Clock::now() >= start + 5ms);
  CHECK_FALSE(loop.run_until([] { return false; }, Deadline::passed()));
  int asked = 0;  // the condition is checked once more at the deadline
  CHECK(loop.run_until([&] { return ++asked == 2; }, Deadline::passed()));
}

TEST_CASE_FIXTURE(Tidy, "loop: run_until ends at its deadline though events keep coming") {
  Loop loop;
  const os::Pipe pipe = full_pipe();
  const Watch watch = loop.watch(pipe.read_end.get(), EPOLLIN, [](std::uint32_t) {});
  // The pipe stays readable: the callback does not read it, and the condition waits for something else.
  const auto guard = Clock::now() + kHang / 4;
  bool ran_away = false;
  CHECK_FALSE(loop.run_until(
      [&] {
        ran_away = Clock::now() >= guard;
        return ran_away;
      },
      Deadline::after(5ms)));
  CHECK_FALSE(ran_away);
}

TEST_CASE_FIXTURE(Tidy, "loop: it may be run from inside a callback") {
  Loop loop;
  const os::Pipe outer = full_pipe(), inner = os::make_pipe();
  std::string order;
  std::optional<Watch> first;
  bool inner_ran = false;
  const Watch second = loop.watch(inner.read_end.get(), EPOLLIN, [&](std::uint32_t) {
    std::string got;
    (void)os::read_some(inner.read_end.get(), got, 10, "pipe");
    inner_ran = true;
    order += "i";
  });
  first = loop.watch(outer.read_end.get(), EPOLLIN, [&](std::uint32_t) {
    first.reset();
    os::write_all(inner.write_end.get(), "x", "pipe");
    order += "<";
    CHECK(loop.run_until([&] { return inner_ran; }, Deadline::after(kHang)));
    order += ">";
  });
  CHECK(loop.turn(Deadline::after(kHang)));
  CHECK(order == "<i>");
}

TEST_CASE_FIXTURE(
    Tidy, "loop: a timer's callback may run the loop until another timer, due at the same time, has fired") {
  Loop loop;
  const auto now = Clock::now();
  bool second_fired = false, waited = false, in_time = false;
  const Watch first = loop.at(now, [&] {
    in_time = loop.run_until([&] { return second_fired; }, Deadline::after(kHang / 4));
    waited = true;
  });
  const Watch second = loop.at(now, [&] { second_fired = true; });
  CHECK(loop.run_until([&] { return waited; }, Deadline::after(kHang)));
  CHECK(in_time);
  CHECK(second_fired);
}

TEST_CASE_FIXTURE(Tidy, "loop: its own descriptor is readable when a turn would find something") {
  Loop loop, hosts;
  CHECK_FALSE(os::is_readable(loop.fd()));
  int ran = 0;
  const Watch later = loop.at(Clock::now() + 1h, [&] { FAIL("too early"); });
  CHECK_FALSE(os::is_readable(loop.fd()));
  const Watch timer = loop.at(Clock::now() + 2ms, [&] { ++ran; });
  pollfd one{loop.fd(), POLLIN, 0};
  CHECK(::poll(&one, 1, Deadline::after(kHang).poll_timeout()) == 1);
  loop.drain();
  CHECK(ran == 1);
  CHECK_FALSE(os::is_readable(loop.fd()));
  const os::Pipe pipe = full_pipe();
  Watch watch = loop.watch(pipe.read_end.get(), EPOLLIN, [&](std::uint32_t) { ++ran; });
  CHECK(os::is_readable(loop.fd()));
  // Inside another loop, as in a host program.
  const Watch nested =
      hosts.watch(loop.fd(), EPOLLIN, [&](std::uint32_t) { (void)loop.turn(Deadline::passed()); });
  CHECK(hosts.turn(Deadline::after(kHang)));
  CHECK(ran == 2);
  watch.stop();
  CHECK_FALSE(os::is_readable(loop.fd()));
}

TEST_CASE_FIXTURE(Tidy, "loop: a nudge makes its descriptor readable, once") {
  Loop loop;
  loop.nudge();
  loop.nudge();
  pollfd one{loop.fd(), POLLIN, 0};
  CHECK(::poll(&one, 1, Deadline::after(kHang).poll_timeout()) == 1);
  loop.drain();
  CHECK_FALSE(os::is_readable(loop.fd()));
  CHECK(loop.turns() == 1);
}

TEST_CASE_FIXTURE(Tidy, "loop: a Watch may outlive its loop") {
  const os::Pipe pipe = full_pipe();
  Watch watch, timer;
  {
    Loop loop;
    watch = loop.watch(pipe.read_end.get(), EPOLLIN, [](std::uint32_t) {});
    timer = loop.at(Clock::now(), [] {});
  }
  watch.want(EPOLLIN);
  watch.stop();
  timer.stop();
  CHECK_FALSE(watch);
}

TEST_CASE_FIXTURE(Tidy, "loop: many events are all handled") {
  Loop loop;
  constexpr int kMany = 150;  // more than one turn gets from the kernel
  std::vector<os::Pipe> pipes;
  std::vector<Watch> watches(kMany);
  int ran = 0;
  for (std::size_t i = 0; i < kMany; ++i) {
    pipes.push_back(full_pipe());
    watches[i] =
        loop.watch(pipes.back().read_end.get(), EPOLLIN, [&, i](std::uint32_t) { ++ran, watches[i].stop(); });
  }
  loop.drain();
  CHECK(ran == kMany);
}

TEST_CASE_FIXTURE(Tidy, "loop: a forked child can neither run its parent's loop nor change it") {
  Loop loop;
  const os::Pipe pipe = full_pipe();
  int runs = 0;
  std::optional<Watch> watch = loop.watch(pipe.read_end.get(), EPOLLIN, [&](std::uint32_t) { ++runs; });
  const int status = in_child([&] {
    watch.reset();
    try {
      (void)loop.turn(Deadline::passed());
    } catch (const SystemError&) {
      return 0;
    }
    return 1;
  });
  CHECK(status == 0);
  CHECK(loop.turn(Deadline::passed()));
  CHECK(runs == 1);
}

TEST_CASE_FIXTURE(Tidy, "loop: with spin, events are found, deadlines hold, and no callback runs twice") {
  Loop loop;
  loop.spin(20ms);
  const os::Pipe pipe = os::make_pipe();
  int seen = 0;
  char byte = 'x';
  const Watch watch = loop.watch(pipe.read_end.get(), EPOLLIN, [&](std::uint32_t) {
    ++seen;
    CHECK(::read(pipe.read_end.get(), &byte, 1) == 1);
  });
  CHECK_FALSE(loop.turn(os::Deadline::passed()));
  for (int i = 1; i <= 3; ++i) {
    REQUIRE(::write(pipe.write_end.get(), &byte, 1) == 1);
    CHECK(loop.turn(os::Deadline::after(kHang)));
    CHECK(seen == i);
  }
  const auto start = os::Clock::now();
  CHECK_FALSE(loop.turn(os::Deadline::at(start + 40ms)));
  CHECK(os::Clock::now() >= start + 40ms);
  loop.spin(Duration::zero());
  REQUIRE(::write(pipe.write_end.get(), &byte, 1) == 1);
  CHECK(loop.turn(os::Deadline::after(kHang)));
  CHECK(seen == 4);
}

TEST_CASE_FIXTURE(Tidy, "G8: drain() ends although events keep coming") {
  Loop loop;
  const os::Pipe pipe = full_pipe();
  int runs = 0;
  const Watch watch = loop.watch(pipe.read_end.get(), EPOLLIN, [&](std::uint32_t) { ++runs; });
  loop.drain();
  CHECK(runs > 0);
  pollfd look{loop.fd(), POLLIN, 0};
  CHECK(::poll(&look, 1, 0) == 1);  // so an outer loop calls it again
}

TEST_CASE_FIXTURE(Tidy, "G5: timers run also without a free descriptor") {
  CHECK(in_child([] {
          Loop loop;
          std::vector<os::UniqueFd> taken;
          for (;;) {
            os::UniqueFd one(::dup(0));
            if (!one) break;
            taken.push_back(std::move(one));
            if (taken.size() == 100) {
              const rlimit few{50, 50};
              (void)::setrlimit(RLIMIT_NOFILE, &few);
            }
          }
          bool ran = false;
          const auto began = Clock::now();
          const Watch watch = loop.at(began + 20ms, [&] { ran = true; });
          if (!loop.run_until([&] { return ran; }, Deadline::after(kHang))) return 1;
          return Clock::now() - began >= 20ms ? 0 : 2;
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy,
                  "G5: a failing step is reported once and tried again; after a success it counts as new") {
  Loop loop;
  std::vector<std::string> reports;
  int again = 0, failures = 3;
  Recovery recovery(
      loop, [&](const std::string& why) { reports.push_back(why); }, [&] { ++again; });
  const auto step = [&] {
    if (failures-- > 0) throw SystemError(ENOMEM, "do something");
  };
  CHECK_FALSE(recovery.attempt(step));
  for (int i = 1; i <= 3; ++i) {
    CHECK(recovery.is_waiting());
    CHECK(loop.run_until([&] { return again == i; }, Deadline::after(kHang)));
    CHECK(recovery.attempt(step) == (i == 3));
  }
  CHECK_FALSE(recovery.is_waiting());
  CHECK(reports == std::vector<std::string>{"do something: Cannot allocate memory"});
  failures = 1;
  CHECK_FALSE(recovery.attempt(step));
  CHECK(reports.size() == 2);
}
