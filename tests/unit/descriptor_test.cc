#include "os/descriptor.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <memory>
#include <string>

#include "ipcm/error.h"
#include "os/events.h"
#include "os/pipe.h"
#include "os/process.h"
#include "os/signals.h"
#include "os/stream.h"
#include "support/tidy.h"
#include "unit/expect.h"
#include "unit/forked.h"

using namespace ipcm;
using namespace ipcm::os;
using ipcm::test::contains;
using ipcm::test::error_of;
using ipcm::test::HeldChild;
using ipcm::test::in_child;
using ipcm::test::kHang;
using ipcm::test::Tidy;

namespace {

int open_null() { return ::open("/dev/null", O_RDWR | O_CLOEXEC); }

}  // namespace

TEST_CASE_FIXTURE(Tidy, "descriptor: an owner closes what it owns, once") {
  const int number = open_null();
  {
    const UniqueFd fd(number);
    CHECK(fd.get() == number);
    CHECK(fd);
  }
  CHECK_FALSE(is_open(number));
  UniqueFd none;
  CHECK(none.get() == -1);
  CHECK_FALSE(none);
  none.reset();
  const UniqueFd negative(-1);
  CHECK_FALSE(negative);
}

TEST_CASE_FIXTURE(Tidy, "descriptor: ownership moves, and the target's former descriptor is closed") {
  const int a = open_null(), b = open_null();
  UniqueFd first(a), second(b);
  second = std::move(first);
  CHECK(second.get() == a);
  CHECK_FALSE(first);  // NOLINT: empty after a move, by contract
  CHECK_FALSE(is_open(b));
  UniqueFd& same = second;
  second = std::move(same);
  CHECK(second.get() == a);
  const UniqueFd third(std::move(second));
  CHECK(third.get() == a);
}

TEST_CASE_FIXTURE(Tidy, "descriptor: a released descriptor is not closed") {
  UniqueFd fd(open_null());
  const int number = fd.release();
  CHECK_FALSE(fd);
  fd.reset();
  CHECK(is_open(number));
  CHECK(fd.release() == -1);
  ::close(number);
}

TEST_CASE_FIXTURE(Tidy, "descriptor: closing leaves errno alone") {
  UniqueFd fd(open_null());
  ::close(fd.get());  // so that closing it fails
  errno = ENOTTY;
  fd.reset();
  CHECK(errno == ENOTTY);
}

TEST_CASE_FIXTURE(
    Tidy, "descriptor: a forked child has none of our descriptors, and its copies of the objects are inert") {
  UniqueFd fd(open_null());
  const int number = fd.get();
  const auto before = generation();
  const int status = in_child([&] {
    if (generation() == before) return 1;
    if (fd.get() != -1 || fd) return 2;
    if (is_open(number)) return 3;
    const int again = open_null();  // gets the number that was freed
    if (again != number) return 4;
    fd.reset();
    if (!is_open(again)) return 5;
    UniqueFd other(std::move(fd));
    if (other.release() != -1 || !is_open(again)) return 6;
    fd = UniqueFd(again);
    return fd.get() == again ? 0 : 7;
  });
  CHECK(status == 0);
  CHECK(generation() == before);
  CHECK(fd.get() == number);
  CHECK(is_open(number));
}

TEST_CASE_FIXTURE(Tidy, "descriptor: destroying a parent's object in the child closes nothing") {
  const int status = in_child([] {
    auto fd = std::make_unique<UniqueFd>(open_null());
    const int number = fd->get();
    return in_child([&] {
      const int again = open_null();
      if (again != number) return 1;
      fd.reset();
      return is_open(again) ? 0 : 2;
    });
  });
  CHECK(status == 0);
}

TEST_CASE_FIXTURE(Tidy, "descriptor: descriptors that were released, or never ours, cross a fork") {
  UniqueFd fd(open_null());
  const int released = fd.release(), foreign = open_null();
  CHECK(in_child([&] { return is_open(released) && is_open(foreign) ? 0 : 1; }) == 0);
  ::close(released);
  ::close(foreign);
}

TEST_CASE_FIXTURE(Tidy, "descriptor: each generation closes only what it inherited") {
  const UniqueFd outer(open_null());
  const int status = in_child([&] {
    const UniqueFd middle(open_null());
    const int number = middle.get();
    const int inner = in_child([&] { return middle.get() == -1 && !is_open(number) ? 0 : 1; });
    return inner == 0 && middle.get() == number && is_open(number) ? 0 : 2;
  });
  CHECK(status == 0);
  CHECK(is_open(outer.get()));
}

TEST_CASE_FIXTURE(Tidy, "descriptor: a pipe's end shows though a child was forked while it was open") {
  Pipe pipe = make_pipe();
  const HeldChild child([](const auto& stay) { stay(); });
  REQUIRE(child.came());
  pipe.write_end.reset();
  CHECK_FALSE(has_writer(pipe.read_end.get()));
  std::string text;
  CHECK(read_some(pipe.read_end.get(), text, 10, "pipe") == ReadResult::end);
}

TEST_CASE_FIXTURE(Tidy, "descriptor: a duplicate lies where it should, and is not inherited over exec") {
  const UniqueFd fd(open_null());
  const UniqueFd copy = duplicate(fd.get(), 50);
  CHECK(copy.get() >= 50);
  CHECK(::fcntl(copy.get(), F_GETFD) == FD_CLOEXEC);
  CHECK(contains(error_of<SystemError>([] { (void)duplicate(-1); }), "Bad file descriptor"));
  CHECK_FALSE(set_close_on_exec(9'999));
  CHECK(::fcntl(fd.get(), F_SETFD, 0) == 0);
  CHECK(set_close_on_exec(fd.get()));
  CHECK(::fcntl(fd.get(), F_GETFD) == FD_CLOEXEC);
}

TEST_CASE_FIXTURE(Tidy, "descriptor: blocking can be switched") {
  const Pipe pipe = make_pipe();
  CHECK((::fcntl(pipe.read_end.get(), F_GETFL) & O_NONBLOCK) == 0);
  set_nonblocking(pipe.read_end.get());
  CHECK((::fcntl(pipe.read_end.get(), F_GETFL) & O_NONBLOCK) != 0);
  set_blocking(pipe.read_end.get());
  CHECK((::fcntl(pipe.read_end.get(), F_GETFL) & O_NONBLOCK) == 0);
}

TEST_CASE_FIXTURE(Tidy, "descriptor: its target can be read") {
  const UniqueFd fd(open_null());
  CHECK(where_leads(::getpid(), fd.get()) == "/dev/null");
  CHECK(where_leads(::getpid(), 9'999).empty());
}

TEST_CASE_FIXTURE(Tidy, "pipe: one read returns bytes, nothing yet, or the end") {
  Pipe pipe = make_pipe();
  CHECK(::fcntl(pipe.read_end.get(), F_GETFD) == FD_CLOEXEC);
  CHECK(::fcntl(pipe.write_end.get(), F_GETFD) == FD_CLOEXEC);
  set_nonblocking(pipe.read_end.get());
  std::string text = "before:";
  CHECK(read_some(pipe.read_end.get(), text, 10, "pipe") == ReadResult::later);
  CHECK(text == "before:");
  CHECK_FALSE(is_readable(pipe.read_end.get()));
  CHECK(has_writer(pipe.read_end.get()));
  write_all(pipe.write_end.get(), "0123456789", "pipe");
  CHECK(is_readable(pipe.read_end.get()));
  CHECK(read_some(pipe.read_end.get(), text, 4, "pipe") == ReadResult::some);
  CHECK(text == "before:0123");
  pipe.write_end.reset();
  CHECK(read_some(pipe.read_end.get(), text, 100, "pipe") == ReadResult::some);
  CHECK(text == "before:0123456789");
  CHECK(read_some(pipe.read_end.get(), text, 100, "pipe") == ReadResult::end);
  CHECK(text == "before:0123456789");
  CHECK(is_readable(pipe.read_end.get()));
  CHECK_FALSE(has_writer(pipe.read_end.get()));
  CHECK(contains(error_of<SystemError>([&] { (void)read_some(-1, text, 10, "the pipe"); }), "the pipe"));
}

TEST_CASE_FIXTURE(Tidy, "pipe: all is written though the pipe is non-blocking and smaller") {
  int ends[2] = {-1, -1};
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  HeldChild child([&](const auto& stay) {
    ::close(ends[1]);
    stay();  // until the writer has filled the pipe
    ::_exit(read_all(ends[0], 2'000'000, "pipe").size() == 1'000'000 ? 0 : 1);
  });
  REQUIRE(child.came());
  ::close(ends[0]);
  UniqueFd write_end(ends[1]);
  set_nonblocking(write_end.get());
  std::string all(1'000'000, 'x');
  // Fills the pipe, so that the rest has to wait for the reader.
  const ssize_t put = ::write(write_end.get(), all.data(), all.size());
  REQUIRE(put > 0);
  REQUIRE(static_cast<std::size_t>(put) < all.size());
  child.go();
  write_all(write_end.get(), std::string_view(all).substr(static_cast<std::size_t>(put)), "pipe");
  write_end.reset();
  CHECK(child.end() == 0);
}

TEST_CASE_FIXTURE(Tidy, "pipe: reading all stops at the limit") {
  Pipe pipe = make_pipe();
  write_all(pipe.write_end.get(), std::string(1'000, 'x'), "pipe");
  pipe.write_end.reset();
  CHECK(contains(error_of([&] { (void)read_all(pipe.read_end.get(), 999, "the text"); }), "the text"));
  Pipe other = make_pipe();
  write_all(other.write_end.get(), std::string(1'000, 'x'), "pipe");
  other.write_end.reset();
  CHECK(read_all(other.read_end.get(), 1'000, "text").size() == 1'000);
}

TEST_CASE_FIXTURE(Tidy, "pipe: writing to a pipe without a reader is an error") {
  const int status = in_child([] {
    take_charge_of_signals();
    Pipe pipe = make_pipe();
    pipe.read_end.reset();
    if (try_write_all(pipe.write_end.get(), "x")) return 1;
    try {
      write_all(pipe.write_end.get(), "x", "pipe");
    } catch (const SystemError& error) {
      return error.code() == EPIPE ? 0 : 2;
    }
    return 3;
  });
  CHECK(status == 0);
}

TEST_CASE_FIXTURE(Tidy, "pipe: a stream leads to a file, appending, or to where one of ours leads") {
  const std::string path = directory() + "/log";
  test::write_file(path, "old\n");
  write_all(open_stream(path, StreamUse::append).get(), "new\n", "log");
  CHECK(test::read_file(path) == "old\nnew\n");
  std::string text;
  CHECK(read_some(open_stream(path, StreamUse::read).get(), text, 3, "log") == ReadResult::some);
  CHECK(text == "old");
  ::unlink(path.c_str());
  const UniqueFd out = open_stream("&2", StreamUse::append);
  CHECK(where_leads(::getpid(), out.get()) == where_leads(::getpid(), 2));
  CHECK(out.get() > 2);
  CHECK_THROWS_AS((void)open_stream(path, StreamUse::read), SystemError);
  CHECK_THROWS_AS((void)open_stream(directory() + "/no/such", StreamUse::append), SystemError);
  CHECK(in_child([] {
          ::close(0);
          const UniqueFd in = open_stream("&0", StreamUse::read);
          return where_leads(::getpid(), in.get()) == "/dev/null" ? 0 : 1;
        }) == 0);
}

TEST_CASE_FIXTURE(Tidy, "pipe: a sealed file in memory can't be changed any more") {
  const UniqueFd file = make_sealed_memory_file("parameters", "content");
  CHECK(::fcntl(file.get(), F_GETFD) == FD_CLOEXEC);
  std::string text;
  CHECK(read_some(file.get(), text, 100, "file") == ReadResult::some);
  CHECK(text == "content");
  CHECK((::write(file.get(), "x", 1) == -1 && errno == EPERM));
  CHECK((::pwrite(file.get(), "x", 1, 0) == -1 && errno == EPERM));
  CHECK((::ftruncate(file.get(), 0) == -1 && errno == EPERM));
  CHECK((::ftruncate(file.get(), 100) == -1 && errno == EPERM));
  CHECK((::fcntl(file.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == -1 && errno == EPERM));
  CHECK(::mmap(nullptr, 7, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0) == MAP_FAILED);
  // A second open file description can't write to it either.
  const UniqueFd again(::open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), O_RDWR | O_CLOEXEC));
  CHECK((!again || (::write(again.get(), "x", 1) == -1 && errno == EPERM)));
  CHECK(make_sealed_memory_file("empty", ""));
}

TEST_CASE_FIXTURE(Tidy, "events: regular files can't be waited for, pipes can") {
  const Pipe pipe = make_pipe();
  CHECK(EventSet::can_wait_for(pipe.read_end.get()));
  const UniqueFd file = make_sealed_memory_file("x", "x");
  CHECK_FALSE(EventSet::can_wait_for(file.get()));
}

TEST_CASE_FIXTURE(
    Tidy, "events: a directory watch reports names that appear, disappear, or are closed after writing") {
  DirectoryWatch watch(directory());
  const auto told = [&] {
    std::string names;
    watch.read([&](std::string_view name) { names.append(name).append(" "); });
    return names;
  };
  CHECK(told().empty());
  test::write_file(directory() + "/a", "x");
  CHECK(is_readable(watch.fd()));
  CHECK(told() == "a a ");  // created, and closed
  REQUIRE(::rename((directory() + "/a").c_str(), (directory() + "/b").c_str()) == 0);
  CHECK(told() == "a b ");
  ::unlink((directory() + "/b").c_str());
  CHECK(told() == "b ");
  CHECK_FALSE(is_readable(watch.fd()));
  CHECK_THROWS_AS(DirectoryWatch(directory() + "/none"), SystemError);
}

TEST_CASE_FIXTURE(Tidy, "events: a directory watch reports each write on request, and can be waited for") {
  test::write_file(directory() + "/a", "x");
  DirectoryWatch watch(directory(), DirectoryWatch::Of::contents), of_changes(directory());
  CHECK_FALSE(watch.await(Deadline::passed()));
  const UniqueFd open(::open((directory() + "/a").c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(::write(open.get(), "y", 1) == 1);
  CHECK(watch.await(Deadline::after(kHang)));
  std::string told;
  watch.read([&](std::string_view name) { told.append(name); });
  CHECK(told == "a");
  CHECK_FALSE(watch.await(Deadline::after(std::chrono::milliseconds(1))));
  CHECK_FALSE(of_changes.await(Deadline::passed()));
  ::unlink((directory() + "/a").c_str());
}

TEST_CASE_FIXTURE(Tidy, "events: the removal of the directory itself means that all names must be checked") {
  const std::string below = directory() + "/d";
  REQUIRE(::mkdir(below.c_str(), 0700) == 0);
  DirectoryWatch watch(below);
  ::rmdir(below.c_str());
  bool all = false;
  watch.read([&](std::string_view name) { all = all || name.empty(); });
  CHECK(all);
}

TEST_CASE_FIXTURE(Tidy, "signals: all wait while they are blocked, then the mask is as it was") {
  sigset_t before, after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  {
    const SignalsBlocked blocked;
    sigset_t now;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
    CHECK(sigismember(&now, SIGUSR1) == 1);
    CHECK(sigismember(&now, SIGTERM) == 1);
    CHECK(sigismember(&blocked.before(), SIGUSR1) == sigismember(&before, SIGUSR1));
  }
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signal = 1; signal < NSIG; ++signal)
    CHECK(sigismember(&before, signal) == sigismember(&after, signal));
}

TEST_CASE_FIXTURE(Tidy, "signals: they can be read, with their sender, and wait while the reader lives") {
  {
    SignalReader reader({SIGUSR1});
    CHECK_FALSE(reader.next());
    reader.add(SIGUSR2);
    ::kill(::getpid(), SIGUSR1);
    ::kill(::getpid(), SIGUSR2);
    CHECK(is_readable(reader.fd()));
    const auto first = reader.next(), second = reader.next();
    REQUIRE(first);
    REQUIRE(second);
    CHECK(first->signal == SIGUSR1);
    CHECK(first->sender == ::getpid());
    CHECK(second->signal == SIGUSR2);
    CHECK_FALSE(reader.next());
  }
  sigset_t now;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
  CHECK(sigismember(&now, SIGUSR1) == 0);
  CHECK(sigismember(&now, SIGUSR2) == 0);
}

TEST_CASE_FIXTURE(Tidy, "signals: names have numbers") {
  CHECK(signal_number("TERM") == SIGTERM);
  CHECK(signal_number("SIGTERM") == SIGTERM);
  CHECK(signal_number("USR1") == SIGUSR1);
  CHECK(signal_number("sigterm") == SIGTERM);
  for (const char* name : {"", "SIG", "te", "SIGSIGTERM", "15", "NOSUCH"}) {
    CAPTURE(std::string(name));
    CHECK_FALSE(signal_number(name));
  }
}
