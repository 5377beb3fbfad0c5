#pragma once

// What the benchmarks share. Each program answers a few questions; for each it measures ours, the floor (the
// same work with bare system calls) and, where they were found, others, alternating in one run. Every figure
// is one JSON line on stdout, and one more in $IPCM_BENCH_RESULTS/PROGRAM.jsonl, from which table.py makes
// the table. Nothing here sleeps, but where rest is what is measured.

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

/// Which processor each side may use. The wake-up of another processor costs more than all the rest.
enum class Placement { one, two, anywhere };
[[nodiscard]] const char* to_string(Placement placement);
/// Those that this machine has.
[[nodiscard]] std::vector<Placement> placements();
enum class Side { asks, answers };
/// Puts this process, and those it starts from now on, where that side belongs.
void pin(Placement placement, Side side);

/// One figure, compared with another one of the same run.
struct Figure {
  std::string question = {};  ///< rows with the same question stand together
  std::string variant = {};   ///< "64 B, one processor"
  std::string who = {};       ///< "ours, JSON"
  std::string unit = "µs";
  Samples samples = {};
  std::string against = {};             ///< "the floor"
  std::optional<double> floor = {};     ///< its median
  std::optional<double> at_most = {};   ///< wanted: ratio to that
  std::optional<double> at_least = {};  ///< wanted, where more is better
  std::optional<double> within = {};    ///< wanted: the value itself
  std::optional<double> curve_x = {};   ///< it is a point of the curve `question`, as well
  std::string curve_label = {};         ///< what x is
};
void report(const Figure& figure);
/// A measurement that was not possible here, and the reason.
void skipped(const std::string& question, const std::string& variant, const std::string& why);

/// Who takes part in a race: the first is the floor.
struct Racer {
  std::string who;
  std::function<void()> once;
  std::optional<double> at_most = {};
  Samples samples = {};
  double spent = 0;
};
/// Each in turn, `rounds` times, `each` timed calls at a time; who is slow gets fewer.
void race(std::vector<Racer>& racers, int rounds, int each);
/// A figure for each of them, compared with the first.
void report_race(const std::vector<Racer>& racers, Figure common);

/// Another process: this program again with `arguments`, at once pinned. It calls ready() when it can be
/// talked to, done() if somebody waits for that, and is killed at the end. Exits are waited for with wait().
class Process {
 public:
  Process(const std::vector<std::string>& arguments, Placement placement, Side side);
  /// A fork of this one, which does that and ends.
  [[nodiscard]] static Process forked(const std::function<void()>& work);
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();
  /// Lets go a process that waits in await_start().
  void start();
  /// Until it calls done(): its end is no part of what it was to do.
  void await_done();
  void wait();
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  /// The other sides of the two pipes.
  struct Ends {
    os::UniqueFd told, go;
  };
  Process() = default;
  [[nodiscard]] Ends make_pipes();
  void await_told(const char* what);

  pid_t pid_ = -1;
  os::UniqueFd told_, go_;
};
/// For the other process: tells that it is ready; waits until it is let go; tells that it has done its work.
void ready();
void await_start();
void done();

/// /proc/PID/FILE, the number after `key`.
[[nodiscard]] double proc_number(pid_t pid, const std::string& file, const std::string& key);
/// PSS in MiB.
[[nodiscard]] double memory_of(pid_t pid);
/// Memory that could be had now, in MiB.
[[nodiscard]] double memory_free();

/// A directory of the run's own, in $IPCM_BENCH_DIRECTORY, else in memory where that can be had; removed at
/// the end.
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
/// main(): without arguments, all `questions`; otherwise those named. `--as PART …` is another process of the
/// same run. A run that hangs is ended.
int run(int argc, char** argv, const Parts& questions, const Parts& parts);

/// The boot binary of this build.
[[nodiscard]] std::string boot_program();

}  // namespace ipcm::bench
