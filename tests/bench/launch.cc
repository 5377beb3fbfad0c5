// Measures a start, from the call until the service is ready, against a process that only writes one byte.

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include "bench/ours.h"
#include "bench/sockets.h"

using namespace ipcm;
using namespace ipcm::bench;

namespace {

constexpr std::size_t kPool = 2;
constexpr const char* kFloor = "floor: posix_spawn of a static program";

const char* spawnee() {
  const char* path = std::getenv("IPCM_BENCH_SPAWNEE");
  if (path == nullptr) throw std::runtime_error("IPCM_BENCH_SPAWNEE does not name the program to start");
  return path;
}

os::UniqueFd pipe_for_child(os::UniqueFd& read_end) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  read_end = os::UniqueFd(ends[0]);
  return os::UniqueFd(ends[1]);
}

/// Returns the time until the byte of the process arrives; its end is not included.
double start_floor() {
  os::UniqueFd read_end;
  const double begin = now_us();
  auto write_end = pipe_for_child(read_end);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), 3);
  std::string name = "spawnee";
  std::array<char*, 2> argv{name.data(), nullptr};
  pid_t pid = -1;
  if (::posix_spawn(&pid, spawnee(), &actions, nullptr, argv.data(), environ) != 0)
    throw std::runtime_error("posix_spawn");
  char byte = 0;
  if (::read(read_end.get(), &byte, 1) != 1) throw std::runtime_error("the spawned program said nothing");
  const double took = now_us() - begin;
  ::posix_spawn_file_actions_destroy(&actions);
  (void)::waitpid(pid, nullptr, 0);
  return took;
}

/// The same by fork and exec; a fork copies the page tables of the caller.
double start_by_fork() {
  os::UniqueFd read_end;
  const double begin = now_us();
  auto write_end = pipe_for_child(read_end);
  const int childs = write_end.release();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(childs, 3);
    ::execl(spawnee(), "spawnee", nullptr);
    ::_exit(1);
  }
  char byte = 0;
  if (::read(read_end.get(), &byte, 1) != 1) throw std::runtime_error("the forked program said nothing");
  const double took = now_us() - begin;
  ::close(childs);
  (void)::waitpid(pid, nullptr, 0);
  return took;
}

/// A process that waits, and on request forks one that writes a byte.
class Zygote {
 public:
  Zygote() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
      throw std::runtime_error("socketpair");
    socket_ = os::UniqueFd(ends[0]);
    const os::UniqueFd its(ends[1]);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, its.get(), 3);
    std::string name = "spawnee", how = "zygote";
    std::array<char*, 3> argv{name.data(), how.data(), nullptr};
    if (::posix_spawn(&pid_, spawnee(), &actions, nullptr, argv.data(), environ) != 0)
      throw std::runtime_error("posix_spawn");
    ::posix_spawn_file_actions_destroy(&actions);
  }
  Zygote(const Zygote&) = delete;
  Zygote& operator=(const Zygote&) = delete;
  ~Zygote() {
    socket_.reset();
    (void)::waitpid(pid_, nullptr, 0);
  }
  double start() {
    const double begin = now_us();
    char byte = 0;
    write_whole(socket_.get(), "x", 1);
    if (!read_whole(socket_.get(), &byte, 1)) throw std::runtime_error("the zygote's child said nothing");
    return now_us() - begin;
  }

 private:
  pid_t pid_ = -1;
  os::UniqueFd socket_;
};

double start_ours(const ServiceOptions& options) {
  const double begin = now_us();
  Handle handle = ipcm_service("started", options);
  const double took = now_us() - begin;
  // Waits until the pool is full again, so that new warm boots do not slow down the next measurement.
  while (options.exec->warm && options.exec->warm.waiting() < kPool) {
    pollfd one{handle.fd(), POLLIN, 0};
    (void)::poll(&one, 1, -1);
    handle.dispatch();
  }
  if (options.ipcm_info)
    end_service(handle);
  else
    (void)handle.shutdown();
  return took;
}

void launches() {
  constexpr int kRounds = 40;
  const Guard guard = ipcm_spawn();
  ServiceOptions there = echo_options(), fresh = echo_options();
  there.ipcm_info = guard.info();
  ServiceOptions warm = there;
  warm.exec->warm = WarmPool(kPool);
  ipcm_warm_up(warm);
  Zygote zygote;
  Samples floor, on_bus, with_bus, forked, from_pool;
  for (int round = 0; round < kRounds; ++round) {
    floor.add(start_floor());
    on_bus.add(start_ours(there));
    with_bus.add(start_ours(fresh));
    forked.add(zygote.start());
    from_pool.add(start_ours(warm));
  }
  report({.question = "exec launch", .variant = "call to ready", .who = kFloor, .samples = floor});
  report({.question = "exec launch",
          .variant = "on a bus that exists",
          .who = "ours",
          .samples = on_bus,
          .against = kFloor,
          .floor = floor.median(),
          .at_most = 1.5});
  report({.question = "exec launch",
          .variant = "with a fresh bus",
          .who = "ours",
          .samples = with_bus,
          .against = kFloor,
          .floor = floor.median(),
          .at_most = 2});
  constexpr const char* kZygote = "floor: fork of a zygote on request";
  report({.question = "exec launch", .variant = "warm", .who = kZygote, .samples = forked});
  report({.question = "exec launch",
          .variant = "warm, from a pool of 2, refilled",
          .who = "ours",
          .samples = from_pool,
          .against = kZygote,
          .floor = forked.median(),
          .at_most = 1});
}

/// Memory of which every page is resident.
class Resident {
 public:
  explicit Resident(std::size_t bytes) : bytes_(bytes) {
    at_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at_ == MAP_FAILED) throw std::runtime_error("mmap");
    (void)::madvise(at_, bytes, MADV_NOHUGEPAGE);
    constexpr std::size_t kPage = 4096;
    if (::madvise(at_, bytes, MADV_POPULATE_WRITE) != 0)
      for (std::size_t place = 0; place < bytes; place += kPage) static_cast<volatile char*>(at_)[place] = 1;
  }
  Resident(const Resident&) = delete;
  Resident& operator=(const Resident&) = delete;
  ~Resident() { ::munmap(at_, bytes_); }

 private:
  void* at_ = nullptr;
  std::size_t bytes_;
};

/// A process with little memory that starts services on request. It takes turns with a process that has much
/// memory, because the speed of the machine changes with time.
class SmallLauncher {
 public:
  explicit SmallLauncher(const ServiceOptions& options) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
      throw std::runtime_error("socketpair");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(ends[0]);
      char byte = 0;
      while (read_whole(ends[1], &byte, 1)) {
        const double took = start_ours(options);
        write_whole(ends[1], reinterpret_cast<const char*>(&took), sizeof took);
      }
      ::_exit(0);
    }
    ::close(ends[1]);
    socket_ = os::UniqueFd(ends[0]);
  }
  SmallLauncher(const SmallLauncher&) = delete;
  SmallLauncher& operator=(const SmallLauncher&) = delete;
  ~SmallLauncher() {
    socket_.reset();
    (void)::waitpid(pid_, nullptr, 0);
  }
  double start() {
    double took = 0;
    write_whole(socket_.get(), "x", 1);
    if (!read_whole(socket_.get(), reinterpret_cast<char*>(&took), sizeof took))
      throw std::runtime_error("the small launcher failed");
    return took;
  }

 private:
  pid_t pid_ = -1;
  os::UniqueFd socket_;
};

void resident() {
  constexpr double kRoom = 2048;
  const Guard guard = ipcm_spawn();
  ServiceOptions options = echo_options();
  options.ipcm_info = guard.info();
  SmallLauncher small(options);
  for (const std::size_t mib : {10UL, 1024UL, 8192UL}) {
    const std::string variant =
        (mib >= 1024 ? std::to_string(mib / 1024) + " GiB" : std::to_string(mib) + " MiB") + " resident";
    if (memory_free() < static_cast<double>(mib) + kRoom) {
      skipped("launch from a large process", variant, "not enough free memory");
      continue;
    }
    const Resident memory(mib * 1024 * 1024);
    Samples ours, by_small, spawned, forked;
    constexpr int kRounds = 40;
    for (int round = 0; round < kRounds; ++round) {
      spawned.add(start_floor());
      ours.add(start_ours(options));
      by_small.add(small.start());
      if (round < (mib > 1024 ? 2 : 5)) forked.add(start_by_fork());
    }
    const auto x = static_cast<double>(mib);
    Figure figure{.question = "launch from a large process",
                  .variant = variant,
                  .who = "ours",
                  .samples = ours,
                  .curve_x = x,
                  .curve_label = "MiB resident in the caller"};
    if (mib > 10) {
      figure.against = "ours from a small process";
      figure.floor = by_small.median();
      figure.at_most = 1.1;
    }
    report(figure);
    figure.at_most = figure.floor = {};
    figure.against.clear();
    figure.who = kFloor;
    figure.samples = spawned;
    report(figure);
    figure.who = "fork and exec of the same program";
    figure.samples = forked;
    report(figure);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"1-launch", [](const auto&) { launches(); }}, {"2-resident", [](const auto&) { resident(); }}},
             {});
}
