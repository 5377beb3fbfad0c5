#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "launch/boot_process.h"
#include "os/pipe.h"

namespace ipcm::launch {

// Warm boots: processes of a boot binary that wait for their parameters.
//
// According to the boot contract, a boot reads its parameters from --params-fd up to their end. If that is an
// empty pipe, the boot waits there, after its exec, its relocations and the start of its runtime. So a boot
// in any language can wait, and needs no code for it. If the launcher ends, the boot reads the end of the
// pipe; our boot also watches its leash.

/// The properties that a waiting process has inherited from its launcher and that can't change later.
class BootKind {
 public:
  explicit BootKind(const LaunchPlan& plan);
  /// Returns whether a new process for this plan would have the same properties.
  [[nodiscard]] bool suits(const LaunchPlan& plan) const;
  /// Returns the plan of a waiting process; it has no name and no parameters.
  [[nodiscard]] const LaunchPlan& plan() const { return plan_; }

 private:
  struct Place {
    std::uint64_t device = 0, inode = 0;
    double modified = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };
  using Places = std::array<Place, 5>;
  [[nodiscard]] static Places places_now(const std::string& program);

  LaunchPlan plan_;
  std::vector<std::string> environment_;
  Places places_;  // of the binary, the working directory, and the standard streams
};

/// The processes of a WarmPool. Any thread may call the functions.
class WarmBoots {
 public:
  explicit WarmBoots(std::size_t most) : most_(most) {}
  WarmBoots(const WarmBoots&) = delete;
  WarmBoots& operator=(const WarmBoots&) = delete;
  ~WarmBoots();

  /// Writes the parameters to a waiting process, and transfers it to the caller. nullopt: no waiting process
  /// suits the plan, or another thread uses the pool.
  [[nodiscard]] std::optional<BootProcess> take(const LaunchPlan& plan);
  /// Starts up to two missing processes, of the kind of the last start. Ignores errors: the next start finds
  /// and reports them.
  void refill() noexcept;
  /// Starts all missing processes. Throws UsageError if the options can't use a pool, LaunchError, and
  /// Timeout if another thread keeps the pool locked.
  void fill(const LaunchPlan& plan);
  [[nodiscard]] std::size_t waiting();
  /// Returns whether no process waits, or another thread uses the pool.
  [[nodiscard]] bool is_empty();
  /// A lock that keeps the other functions out while it lives.
  class Held {
   public:
    explicit Held(WarmBoots& boots) : lock_(boots.mutex_) {}

   private:
    std::unique_lock<std::timed_mutex> lock_;
  };

 private:
  struct Waiting {
    os::Spawning process;  // its exec may still be under way
    LauncherFds ends;
    double began;         // Unix seconds
    os::Pipe parameters;  // both ends: we could read it ourselves, so a write raises no SIGPIPE
    [[nodiscard]] bool has_ended();
  };
  [[nodiscard]] std::optional<NotStarted> start_one();
  void become(const LaunchPlan& plan);
  void forget_the_dead();
  void end_all() noexcept;

  const std::size_t most_;
  std::timed_mutex mutex_;
  std::atomic<std::uint32_t> born_in_{0};
  std::optional<BootKind> kind_;
  std::deque<Waiting> waiting_;  // the oldest first, since its start has advanced the most
};

}  // namespace ipcm::launch
