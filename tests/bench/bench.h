#pragma once

// The shared part of the benchmarks. Each program answers a few questions. For each question it measures
// ipcm, the floor (the same work with bare system calls) and the other libraries that were found, alternating
// in one run. Every figure is one JSON line on stdout and in $IPCM_BENCH_RESULTS/PROGRAM.jsonl, from which
// table.py makes the table. The benchmarks do not sleep, except to measure an idle service.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "os/descriptor.h"

namespace ipcm::bench {

[[nodiscard]] double now_us();

class Samples {
 public:
  void add(double value) { values_.push_back(value); }
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] double median() const { return quantile(0.5); }
  [[nodiscard]] double p99() const { return quantile(0.99); }

 private:
  [[nodiscard]] double quantile(double part) const;
  std::vector<double> values_;
};

/// The processors that each side may use. Waking up another processor costs more than everything else.
enum class Placement { one, two, anywhere };
[[nodiscard]] const char* to_string(Placement placement);
/// Returns the placements that this machine supports.
[[nodiscard]] std::vector<Placement> placements();
enum class Side { asks, answers };
/// Pins this process, and the processes that it starts from now on, to the processor of that side.
void pin(Placement placement, Side side);

/// A figure, compared with another one of the same run.
struct Figure {
  std::string question = {};  ///< rows with the same question stand together
  std::string variant = {};   ///< "64 B, one processor"
  std::string who = {};       ///< "ours, JSON"
  std::string unit = "µs";
  Samples samples = {};
  std::string against = {};             ///< "the floor"
  std::optional<double> floor = {};     ///< the median of `against`
  std::optional<double> at_most = {};   ///< the largest wanted ratio to `floor`
  std::optional<double> at_least = {};  ///< the smallest wanted ratio to `floor`
  std::optional<double> within = {};    ///< the largest wanted median
  std::optional<double> curve_x = {};   ///< x, if the figure is also a point of the curve `question`
  std::string curve_label = {};         ///< the label of x
};
void report(const Figure& figure);
/// Reports a measurement that is not possible on this machine, and the reason.
void skipped(const std::string& question, const std::string& variant, const std::string& why);

/// A participant of a race. The first one is the floor.
struct Racer {
  std::string who;
  std::function<void()> once;
  std::optional<double> at_most = {};
  Samples samples = {};
  double spent = 0;
};
/// Runs the racers by turns, `rounds` times, with `each` timed calls in a round; fewer calls if a racer is
/// slow.
void race(std::vector<Racer>& racers, int rounds, int each);
/// Reports a figure for each racer, compared with the first one.
void report_race(const std::vector<Racer>& racers, Figure common);

/// Another process, which executes this program with `arguments` and is pinned from its start. The process
/// calls ready() when it can be used, and done() if await_done() is used. The destructor kills it; wait()
/// waits for its exit.
class Process {
 public:
  Process(const std::vector<std::string>& arguments, Placement placement, Side side);
  /// Forks a process that does `work` and ends.
  [[nodiscard]] static Process forked(const std::function<void()>& work);
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();
  /// Wakes the process, which waits in await_start().
  void start();
  /// Waits until the process calls done(). The end of the process is not part of the measurement.
  void await_done();
  void wait();
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  /// The child's ends of the two pipes.
  struct Ends {
    os::UniqueFd told, go;
  };
  Process() = default;
  [[nodiscard]] Ends make_pipes();
  void await_told(const char* what);

  pid_t pid_ = -1;
  os::UniqueFd told_, go_;
};
/// For the other process: ready() reports that it can be used, await_start() waits for start(), and done()
/// reports that it has done its work.
void ready();
void await_start();
void done();

/// Returns the number after `key` in /proc/PID/FILE.
[[nodiscard]] double proc_number(pid_t pid, const std::string& file, const std::string& key);
/// Returns the PSS of the process in MiB.
[[nodiscard]] double memory_of(pid_t pid);
/// Returns the available memory in MiB.
[[nodiscard]] double memory_free();

/// The temporary directory of the run, in $IPCM_BENCH_DIRECTORY, else in /dev/shm if that exists. The
/// destructor removes it.
class Directory {
 public:
  Directory();
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

using Parts = std::map<std::string, std::function<void(const std::vector<std::string>&)>>;
/// The body of main(). Answers the named questions; without arguments, all of them. `--as PART …` is used for
/// the other processes of the run. A run that hangs is ended.
int run(int argc, char** argv, const Parts& questions, const Parts& parts);

/// Returns the path of the boot binary of this build.
[[nodiscard]] std::string boot_program();

}  // namespace ipcm::bench
