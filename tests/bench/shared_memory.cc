// Measures large payloads through memory that two processes share: the round trip through a ring with a
// futex, and a request and its answer through ipcm, which uses such memory too.

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include "bench/ours.h"

using namespace ipcm;
using namespace ipcm::bench;

namespace {

constexpr const char* kQuestion = "large payloads, shared memory";
constexpr std::size_t kMiB = 1024UL * 1024;

/// The memory of one direction. `full` tells which side may use it.
struct Slot {
  std::atomic<std::uint32_t> full;
  std::uint32_t size;
};

void wait_for(std::atomic<std::uint32_t>& word, std::uint32_t wanted) {
  for (;;) {
    const std::uint32_t now = word.load(std::memory_order_acquire);
    if (now == wanted) return;
    ::syscall(SYS_futex, &word, FUTEX_WAIT, now, nullptr, nullptr, 0);
  }
}
void tell(std::atomic<std::uint32_t>& word, std::uint32_t value) {
  word.store(value, std::memory_order_release);
  ::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

void ring(std::size_t size) {
  const std::size_t all = 2 * (size + sizeof(Slot));
  void* memory =
      ::mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("mmap");
  auto* slots = static_cast<Slot*>(memory);
  char* there = static_cast<char*>(memory) + 2 * sizeof(Slot);
  char* back = there + size;
  const pid_t pid = ::fork();
  if (pid == 0) {
    std::string own(size, '\0');
    for (;;) {
      wait_for(slots[0].full, 1);
      std::memcpy(own.data(), there, size);
      slots[0].full.store(0, std::memory_order_release);
      std::memcpy(back, own.data(), size);
      tell(slots[1].full, 1);
    }
  }
  std::string own(size, 'x');
  std::vector<Racer> racers;
  racers.push_back({"floor: one slot of shared memory each way, futex", [&] {
                      std::memcpy(there, own.data(), size);
                      tell(slots[0].full, 1);
                      wait_for(slots[1].full, 1);
                      slots[1].full.store(0, std::memory_order_release);
                      std::memcpy(own.data(), back, size);
                    }});
  const auto handle = start_echo(Placement::anywhere, "JSON");
  racers.push_back({"ours, pooled shared memory",
                    [handle, content = Content(std::string(size, 'x'))] {
                      (void)handle->sync_request(content, std::chrono::seconds(20));
                    },
                    2});
  race(racers, 10, 10);
  const std::string variant = std::to_string(size / kMiB) + " MiB, free";
  report_race(racers, {.question = kQuestion, .variant = variant});
  ::kill(pid, SIGKILL);
  (void)::waitpid(pid, nullptr, 0);
  ::munmap(memory, all);
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"ring",
               [](const auto&) {
                 for (const std::size_t mib : {1UL, 16UL}) ring(mib * kMiB);
               }}},
             {});
}
