// Measures how soon the end of a process is noticed, and how often an idle service wakes up. Five figures,
// medians of 20.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "bench/ours.h"
#include "os/process.h"

using namespace ipcm;
using namespace ipcm::bench;

namespace {

constexpr int kTimes = 20;
constexpr const char* kQuestion = "ends, and rest";
constexpr auto kHang = std::chrono::seconds(20);

/// A number that forked processes share with this one.
class SharedNumber {
 public:
  SharedNumber()
      : at_(static_cast<volatile double*>(
            ::mmap(nullptr, sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  SharedNumber(const SharedNumber&) = delete;
  SharedNumber& operator=(const SharedNumber&) = delete;
  ~SharedNumber() { ::munmap(const_cast<double*>(at_), sizeof(double)); }
  void set(double value) const { *at_ = value; }
  [[nodiscard]] double get() const { return *at_; }

 private:
  volatile double* at_;
};

void await_end_of(const os::UniqueFd& process) {
  if (!os::await_end(process.get(), os::Deadline::after(kHang))) throw std::runtime_error("a process stays");
}

os::UniqueFd open_process(pid_t pid) {
  auto process = os::open_process(pid);
  if (!process) throw std::runtime_error("a process is not there");
  return std::move(*process);
}

/// Measures the end of a service that kills itself during a request and stores the time before.
void service_killed() {
  const SharedNumber killed;
  Samples noticed;
  for (int i = 0; i < kTimes; ++i) {
    ServiceOptions options;
    options.handle_request = [&killed](Service&, const Request&) -> Answer {
      killed.set(now_us());
      ::kill(::getpid(), SIGKILL);
      return later;
    };
    Handle handle = ipcm_service("victim", options);
    try {
      (void)handle.sync_request("go", kHang).content();
      throw std::runtime_error("a killed service has answered");
    } catch (const PeerGone&) {
      noticed.add((now_us() - killed.get()) / 1000);
    }
  }
  report({.question = kQuestion,
          .variant = "SIGKILL of a service, to the waiter's exception",
          .who = "ours",
          .unit = "ms",
          .samples = noticed,
          .within = 2});
}

/// Measures the end of a service after its owner, which also owns the bus, was killed.
void owner_killed() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);  // this process adopts the orphan
  Samples gone;
  for (int i = 0; i < kTimes; ++i) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    const pid_t owner = ::fork();
    if (owner == 0) {
      // The child has its own library state and never returns from here.
      const Handle handle = ipcm_service("orphan", echo_options());
      const std::string told = std::to_string(*handle.service_pid()) + " " + handle.info().route;
      (void)!::write(ends[1], told.data(), told.size());
      for (;;) ::pause();
    }
    ::close(ends[1]);
    std::array<char, 4096> told{};
    const auto size = ::read(ends[0], told.data(), told.size() - 1);
    ::close(ends[0]);
    if (size <= 0) throw std::runtime_error("the owner did not start");
    const std::string text(told.data(), static_cast<std::size_t>(size));
    const pid_t service = std::stoi(text);
    const std::string route = text.substr(text.find(' ') + 1);
    const auto process = open_process(service);
    const double begin = now_us();
    ::kill(owner, SIGKILL);
    await_end_of(process);
    const double took = now_us() - begin;
    if (std::filesystem::exists(route)) throw std::runtime_error("the route is still there: " + route);
    gone.add(took / 1000);
    (void)::waitpid(owner, nullptr, 0);
    (void)::waitpid(service, nullptr, 0);
  }
  report({.question = kQuestion,
          .variant = "SIGKILL of the owner, to service gone and route removed",
          .who = "ours",
          .unit = "ms",
          .samples = gone,
          .within = 20});
}

void handle_destroyed() {
  Samples gone;
  for (int i = 0; i < kTimes; ++i) {
    std::optional<Handle> handle(ipcm_service("short", echo_options()));
    const auto process = open_process(*handle->service_pid());
    const std::string route = handle->info().route;
    const double begin = now_us();
    handle.reset();
    const double took = now_us() - begin;
    if (std::filesystem::exists(route) || !os::has_ended(process.get()))
      throw std::runtime_error("a handle went and left something behind");
    gone.add(took / 1000);
  }
  report({.question = kQuestion,
          .variant = "handle destroyed, to all gone",
          .who = "ours",
          .unit = "ms",
          .samples = gone,
          .within = 20});
}

void idle() {
  constexpr auto kRest = std::chrono::seconds(10);
  // Several services are idle at the same time, on one bus and on separate buses.
  const Guard guard = ipcm_spawn();
  ServiceOptions options = echo_options();
  options.ipcm_info = guard.info();
  std::vector<Handle> resting;
  for (int i = 0; i < kTimes - 1; ++i) resting.push_back(ipcm_service("r" + std::to_string(i), options));
  resting.push_back(ipcm_service("alone", echo_options()));
  const auto wakeups = [](Handle& handle) {
    const pid_t pid = *handle.service_pid();
    return proc_number(pid, "status", "voluntary_ctxt_switches") +
           proc_number(pid, "status", "nonvoluntary_ctxt_switches");
  };
  std::vector<double> before;
  for (Handle& handle : resting) (void)handle.sync_request("awake?", kHang);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // they become idle again
  for (Handle& handle : resting) before.push_back(wakeups(handle));
  std::this_thread::sleep_for(kRest);  // the measured time
  Samples all;
  for (std::size_t i = 0; i < resting.size(); ++i) all.add(wakeups(resting[i]) - before[i]);
  report({.question = kQuestion,
          .variant = "wake-ups of an idle service in 10 s",
          .who = "ours",
          .unit = "wake-ups",
          .samples = all,
          .within = 0});
}

/// Sends requests to two buses by turns.
void request_by_peers() {
  const Guard few = ipcm_spawn(), many = ipcm_spawn();
  const auto start = [](const Guard& guard, const std::string& name) {
    ServiceOptions options = echo_options();
    options.ipcm_info = guard.info();
    return ipcm_service(name, options);
  };
  Handle at_few = start(few, "asked"), at_many = start(many, "asked");
  for (int i = 0; i < 198; ++i) start(many, "s" + std::to_string(i)).release();
  const Content content(std::string(64, 'x'));
  std::vector<Racer> racers;
  racers.push_back({"with 2 peers", [&] { (void)at_few.sync_request(content, kHang); }});
  racers.push_back({"with 200 peers", [&] { (void)at_many.sync_request(content, kHang); }, 1.2});
  race(racers, kTimes, 50);
  report_race(racers, {.question = kQuestion, .variant = "request and answer, 64 B, free"});
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"1-service-killed", [](const auto&) { service_killed(); }},
              {"2-owner-killed", [](const auto&) { owner_killed(); }},
              {"3-handle-destroyed", [](const auto&) { handle_destroyed(); }},
              {"4-idle", [](const auto&) { idle(); }},
              {"5-request-by-peers", [](const auto&) { request_by_peers(); }}},
             {});
}
