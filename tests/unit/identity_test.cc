// G2: facts about other processes that the kernel guarantees. A pid in a file is only a claim.

#include "os/identity.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "os/fifo.h"
#include "os/process.h"
#include "os/socket.h"
#include "support/tidy.h"
#include "unit/forked.h"

using namespace ipcm;
using namespace ipcm::os;
using ipcm::test::HeldChild;
using ipcm::test::Tidy;

namespace {

Pid ended_process() {
  HeldChild child([](const auto& stay) { stay(); });
  const Pid pid = child.pid();
  child.kill();
  return pid;
}

/// A thread of this process that runs until the test ends it.
class HeldThread {
 public:
  HeldThread()
      : thread_([this] {
          std::unique_lock<std::mutex> lock(mutex_);
          id_ = static_cast<Pid>(::syscall(SYS_gettid));
          changed_.notify_all();
          changed_.wait(lock, [this] { return over_; });
        }) {}
  ~HeldThread() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  HeldThread(const HeldThread&) = delete;
  HeldThread& operator=(const HeldThread&) = delete;
  Pid id() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return id_ != 0; });
    return id_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Pid id_ = 0;
  bool over_ = false;
  std::thread thread_;
};

bool in_first_namespace() {
  struct stat space {};
  return ::stat("/proc/self/ns/pid", &space) == 0 && space.st_ino == 0xEFFFFFFC;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "G2: the number of a thread is no process, and no error") {
  HeldThread thread;
  REQUIRE(thread.id() != own_pid());
  CHECK_FALSE(open_process(thread.id()));
  CHECK_FALSE(is_running(thread.id()));
  CHECK(look_for_process(thread.id()) != Seen::runs);
}

TEST_CASE_FIXTURE(Tidy, "G2: a number proves the end of its process only where all processes can be seen") {
  HeldChild runs([](const auto& stay) { stay(); });
  REQUIRE(runs.came());
  CHECK(look_for_process(runs.pid()) == Seen::runs);
  const Seen none = in_first_namespace() ? Seen::ended : Seen::nowhere;
  CHECK(look_for_process(ended_process()) == none);
  runs.kill_only();
  CHECK(look_for_process(runs.pid()) == none);  // a zombie
  CHECK(look_for_process(own_pid()) == none);   // the caller knows that the note is not its own
  CHECK(look_for_process(0) == Seen::nowhere);
  CHECK(look_for_process(-1) == Seen::nowhere);
}

TEST_CASE_FIXTURE(Tidy,
                  "G2: a refused connection, and a pipe without a reader, prove that an endpoint is dead") {
  const Directory here(directory());
  here.write_file("file", "");
  CHECK(look_at_stream(here, "file") == Endpoint::unknown);  // a regular file refuses connections too
  CHECK(look_at_datagrams(here, "nothing") == Endpoint::unknown);
  CHECK(look_at_fifo(here, "file") == Endpoint::unknown);
  {
    const UniqueFd listener = listen_at(here, "stream"), mailbox = bind_datagrams_at(here, "datagrams"),
                   pipe = make_fifo_at(here, "pipe");
    CHECK(look_at_stream(here, "stream") == Endpoint::read);
    CHECK(look_at_datagrams(here, "datagrams") == Endpoint::read);
    CHECK(look_at_fifo(here, "pipe") == Endpoint::read);
    CHECK(look_at_stream(here, "datagrams") == Endpoint::unknown);
  }
  CHECK(look_at_stream(here, "stream") == Endpoint::dead);
  CHECK(look_at_datagrams(here, "datagrams") == Endpoint::dead);
  CHECK(look_at_fifo(here, "pipe") == Endpoint::dead);
  for (const char* file : {"file", "stream", "datagrams", "pipe"}) here.remove_file(file);
}

TEST_CASE_FIXTURE(Tidy, "G2: the kernel knows the listening process, whatever pid is noted") {
  const Directory here(directory());
  HeldChild listens([&](const auto& stay) {
    const UniqueFd listener = listen_at(Directory(directory()), "peer");
    stay();
  });
  REQUIRE(listens.came());
  const auto socket = connect_to(here, "peer", Deadline::passed());
  REQUIRE(socket);
  const UniqueFd process = process_of_listener(socket->get(), here.look("peer"));
  REQUIRE(process);
  CHECK(pid_of(process.get()) == listens.pid());
  FileFacts of_another = here.look("peer");
  ++of_another.owner;
  CHECK_FALSE(process_of_listener(socket->get(), of_another));
  listens.kill_only();
  CHECK_FALSE(process_of_listener(socket->get(), here.look("peer")));
  here.remove_file("peer");
}

TEST_CASE_FIXTURE(Tidy, "G2: a child that has inherited a listener is not the process that listens") {
  const Directory here(directory());
  Pid heir = 0;
  int told[2] = {-1, -1};
  REQUIRE(::pipe2(told, O_CLOEXEC) == 0);
  HeldChild listens([&](const auto& stay) {
    const UniqueFd listener = listen_at(Directory(directory()), "peer");
    const Pid forked = ::_Fork();  // without fork handlers, which would close its copy
    if (forked == 0) {
      ::pause();
      ::_exit(0);
    }
    (void)!::write(told[1], &forked, sizeof forked);
    stay();
  });
  REQUIRE(listens.came());
  REQUIRE(::read(told[0], &heir, sizeof heir) == sizeof heir);
  ::close(told[0]);
  ::close(told[1]);
  listens.kill();
  const auto socket = connect_to(here, "peer", Deadline::passed());
  CHECK(socket);  // the forked process still has it open
  if (socket) CHECK_FALSE(process_of_listener(socket->get(), here.look("peer")));
  // It is no child of this process, so the test must end it itself.
  const auto process = open_process(heir);
  REQUIRE(process);
  CHECK(signal_process(process->get(), SIGKILL));
  CHECK(await_end(process->get(), Deadline::after(ipcm::test::kHang)));
  here.remove_file("peer");
}

TEST_CASE("G3: names made by the library never collide, whatever the pids") {
  constexpr int kMany = 1000;
  std::set<std::string> names;
  for (int i = 0; i < kMany; ++i) names.insert(unique_name("x-"));
  CHECK(names.size() == kMany);
  CHECK(names.begin()->starts_with("x-" + std::to_string(own_pid()) + "-"));
}
