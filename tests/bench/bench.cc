#include "bench/bench.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>

#include "wire/json_text.h"

extern char** environ;

namespace ipcm::bench {
namespace {

/// The time limit of a run, in seconds. It ends a hang.
constexpr unsigned kLongestRun = 170;
/// The time limit of one racer in one race, in µs; it counts once the racer has kFewSamples samples.
constexpr double kLongestRace = 2.5e6;
constexpr std::size_t kFewSamples = 5;
constexpr int kToldFd = 3, kGoFd = 4;

std::string program_name = "bench";

void fail(const std::string& what) {
  throw std::runtime_error(what + ": " + std::error_code(errno, std::system_category()).message());
}

/// The processors that this run was given.
const std::vector<int>& processors() {
  static const std::vector<int> all = [] {
    std::vector<int> found;
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) != 0) fail("sched_getaffinity");
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) found.push_back(cpu);
    return found;
  }();
  return all;
}

void add_text(std::string& line, const char* key, const std::string& value) {
  if (value.empty()) return;
  line.append(line.size() > 1 ? "," : "").append("\"").append(key).append("\":");
  wire::append_json_string(line, value);
}

void add_number(std::string& line, const char* key, std::optional<double> value) {
  if (!value) return;
  std::array<char, 64> digits{};
  (void)std::snprintf(digits.data(), digits.size(), "%.6g", *value);
  line.append(line.size() > 1 ? "," : "").append("\"").append(key).append("\":").append(digits.data());
}

void print(const std::string& line) {
  static std::ofstream file = [] {
    const char* directory = std::getenv("IPCM_BENCH_RESULTS");
    if (directory == nullptr) return std::ofstream();
    std::filesystem::create_directories(directory);
    return std::ofstream(std::string(directory) + "/" + program_name + ".jsonl");
  }();
  std::cout << line << std::endl;
  if (file.is_open()) file << line << std::endl;
}

}  // namespace

double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double Samples::quantile(double part) const {
  if (values_.empty()) return 0;
  auto sorted = values_;
  const auto at = static_cast<std::ptrdiff_t>(part * static_cast<double>(sorted.size() - 1) + 0.5);
  std::nth_element(sorted.begin(), sorted.begin() + at, sorted.end());
  return sorted[static_cast<std::size_t>(at)];
}

const char* to_string(Placement placement) {
  switch (placement) {
    case Placement::one:
      return "one processor";
    case Placement::two:
      return "two processors";
    case Placement::anywhere:
      return "free";
  }
  return "?";
}

std::vector<Placement> placements() {
  if (processors().size() < 2) return {Placement::one};
  return {Placement::one, Placement::two, Placement::anywhere};
}

void pin(Placement placement, Side side) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (placement == Placement::anywhere)
    for (const int cpu : processors()) CPU_SET(cpu, &set);
  else
    CPU_SET(placement == Placement::one || side == Side::asks ? processors().front() : processors().back(),
            &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) fail("sched_setaffinity");
}

void report(const Figure& figure) {
  std::string line = "{";
  add_text(line, "question", figure.question);
  add_text(line, "variant", figure.variant);
  add_text(line, "who", figure.who);
  add_text(line, "unit", figure.unit);
  add_number(line, "median", figure.samples.median());
  add_number(line, "p99", figure.samples.p99());
  add_number(line, "n", static_cast<double>(figure.samples.size()));
  add_text(line, "against", figure.against);
  add_number(line, "floor", figure.floor);
  if (figure.floor) add_number(line, "ratio", figure.samples.median() / *figure.floor);
  add_number(line, "at_most", figure.at_most);
  add_number(line, "at_least", figure.at_least);
  add_number(line, "within", figure.within);
  add_number(line, "curve_x", figure.curve_x);
  add_text(line, "curve_label", figure.curve_label);
  print(line + "}");
}

void skipped(const std::string& question, const std::string& variant, const std::string& why) {
  std::string line = "{";
  add_text(line, "question", question);
  add_text(line, "variant", variant);
  add_text(line, "skipped", why);
  print(line + "}");
}

void race(std::vector<Racer>& racers, int rounds, int each) {
  for (Racer& racer : racers)
    for (int i = 0; i < std::max(1, each / 4); ++i) racer.once();  // warm-up
  for (int round = 0; round < rounds; ++round) {
    for (Racer& racer : racers) {
      for (int i = 0; i < each; ++i) {
        if (racer.spent > kLongestRace && racer.samples.size() >= kFewSamples) break;
        const double begin = now_us();
        racer.once();
        const double took = now_us() - begin;
        racer.samples.add(took);
        racer.spent += took;
      }
    }
  }
}

void report_race(const std::vector<Racer>& racers, Figure common) {
  for (const Racer& racer : racers) {
    Figure figure = common;
    figure.who = racer.who;
    figure.samples = racer.samples;
    figure.at_most = racer.at_most;
    if (&racer != &racers.front()) {
      figure.against = racers.front().who;
      figure.floor = racers.front().samples.median();
    }
    report(figure);
  }
}

Process::Ends Process::make_pipes() {
  std::array<int, 2> told{}, go{};
  if (::pipe2(told.data(), O_CLOEXEC) != 0 || ::pipe2(go.data(), O_CLOEXEC) != 0) fail("pipe");
  // The descriptors have numbers above those in the child, so that dup2 does not overwrite one of them.
  constexpr int kAbove = 10;
  told_ = os::UniqueFd(told[0]);
  go_ = os::UniqueFd(go[1]);
  Ends ends{os::UniqueFd(::fcntl(told[1], F_DUPFD_CLOEXEC, kAbove)),
            os::UniqueFd(::fcntl(go[0], F_DUPFD_CLOEXEC, kAbove))};
  ::close(told[1]);
  ::close(go[0]);
  return ends;
}

Process Process::forked(const std::function<void()>& work) {
  Process process;
  Ends ends = process.make_pipes();
  const int told = ends.told.release(), go = ends.go.release();  // a fork closes those of a UniqueFd
  process.pid_ = ::fork();
  if (process.pid_ < 0) fail("fork");
  if (process.pid_ == 0) {
    int status = 1;
    try {
      if (::dup2(told, kToldFd) < 0 || ::dup2(go, kGoFd) < 0) fail("dup2");
      ::close(told);
      ::close(go);
      work();
      status = 0;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "a process of the benchmark: %s\n", error.what());
    }
    ::_exit(status);
  }
  ::close(told);
  ::close(go);
  process.await_told("start");
  return process;
}

Process::Process(const std::vector<std::string>& arguments, Placement placement, Side side) {
  Ends ends = make_pipes();
  std::vector<std::string> words = {program_name, "--as"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends.told.get(), kToldFd);
  ::posix_spawn_file_actions_adddup2(&actions, ends.go.get(), kGoFd);
  cpu_set_t before;
  (void)::sched_getaffinity(0, sizeof before, &before);
  pin(placement, side);
  const int error = ::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  (void)::sched_setaffinity(0, sizeof before, &before);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("posix_spawn");
  ends = {};  // only the child has them now
  await_told("start");
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), told_(std::move(other.told_)), go_(std::move(other.go_)) {}

Process::~Process() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  (void)::waitpid(pid_, nullptr, 0);
}

void Process::await_told(const char* what) {
  char byte = 0;
  if (::read(told_.get(), &byte, 1) != 1)
    throw std::runtime_error(std::string("a process of the benchmark did not ") + what);
}

void Process::start() { go_.reset(); }
void Process::await_done() { await_told("do its work"); }

void Process::wait() {
  int status = 0;
  if (::waitpid(std::exchange(pid_, -1), &status, 0) < 0 || status != 0)
    throw std::runtime_error("a process of the benchmark failed");
}

void ready() { (void)!::write(kToldFd, "x", 1); }
void done() { (void)!::write(kToldFd, "x", 1); }

void await_start() {
  char byte = 0;
  while (::read(kGoFd, &byte, 1) < 0 && errno == EINTR) {
  }
}

double proc_number(pid_t pid, const std::string& file, const std::string& key) {
  std::ifstream lines("/proc/" + (pid == 0 ? std::string() : std::to_string(pid) + "/") + file);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(key + ":")) return std::strtod(line.c_str() + key.size() + 1, nullptr);
  throw std::runtime_error("no '" + key + "' in " + file);
}

double memory_of(pid_t pid) { return proc_number(pid, "smaps_rollup", "Pss") / 1024; }
double memory_free() { return proc_number(0, "meminfo", "MemAvailable") / 1024; }

Directory::Directory() {
  // In memory, as a user's runtime directory is: the speed of a disk varies.
  const char* chosen = std::getenv("IPCM_BENCH_DIRECTORY");
  path_ = std::string(chosen != nullptr                           ? chosen
                      : std::filesystem::is_directory("/dev/shm") ? "/dev/shm"
                                                                  : "/tmp") +
          "/ipcm-bench-XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) fail("mkdtemp");
}
Directory::~Directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

int run(int argc, char** argv, const Parts& questions, const Parts& parts) {
  std::vector<std::string> words(argv + 1, argv + argc);
  program_name = std::filesystem::path(argv[0]).filename();
  ::alarm(kLongestRun);
  try {
    (void)processors();  // before any process is pinned
    if (!words.empty() && words[0] == "--as") {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::fcntl(kToldFd, F_SETFD, FD_CLOEXEC);
      ::fcntl(kGoFd, F_SETFD, FD_CLOEXEC);
      parts.at(words.at(1))({words.begin() + 2, words.end()});
      return 0;
    }
    const Directory own;  // for files of ipcm and other libraries
    ::setenv("TMPDIR", own.path().c_str(), 1);
    ::setenv("XDG_RUNTIME_DIR", own.path().c_str(), 1);
    if (words.empty())
      for (const auto& [name, question] : questions) words.push_back(name);
    for (const std::string& word : words) {
      if (!questions.contains(word)) throw std::runtime_error("no question '" + word + "'");
      pin(Placement::anywhere, Side::asks);
      questions.at(word)({});
    }
  } catch (const std::exception& error) {
    std::cerr << program_name << ": " << error.what() << "\n";
    return 1;
  }
  return 0;
}

std::string boot_program() {
  const char* path = std::getenv("IPCM_TEST_BOOT");
  if (path == nullptr) throw std::runtime_error("IPCM_TEST_BOOT does not name the boot binary");
  return path;
}

}  // namespace ipcm::bench
