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

// Boots that wait.
//
// The boot contract has all that it takes: a boot reads its parameters from --params-fd up to their end. Give
// it a pipe, and it waits there for as long as nobody writes; by then exec, relocations and the start of its
// runtime are behind it. So any boot can wait, in any language, and does not know it. If we are gone it reads
// the end, and has its leash.

/// What a process of a boot binary has of its launcher, and so can't be given later.
class BootKind {
 public:
  explicit BootKind(const LaunchPlan& request);
  /// Whether such a process is what a new one for this request would be.
  [[nodiscard]] bool suits(const LaunchPlan& request) const;
  /// To start one; without name and parameters.
  [[nodiscard]] const LaunchPlan& request() const { return plan_; }

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
  Places places_;  // the binary, the working directory, the standard streams
};

/// See WarmPool.
class WarmBoots {
 public:
  explicit WarmBoots(std::size_t most) : most_(most) {}
  WarmBoots(const WarmBoots&) = delete;
  WarmBoots& operator=(const WarmBoots&) = delete;
  ~WarmBoots();

  /// One that has been given the request's parameters. nullopt: there is none that suits it.
  [[nodiscard]] std::optional<BootProcess> take(const LaunchPlan& request);
  /// Starts some of those that are missing, of the kind that was asked for last. That it can't is nobody's
  /// business: the next start will say so.
  void refill() noexcept;
  /// Starts all. Throws LaunchError; Timeout if another thread has it all the time.
  void fill(const LaunchPlan& request);
  [[nodiscard]] std::size_t waiting();
  /// Nobody waits, or another thread is taking or filling.
  [[nodiscard]] bool is_empty();
  /// Keeps all others out while it lives.
  class Held {
   public:
    explicit Held(WarmBoots& boots) : lock_(boots.mutex_) {}

   private:
    std::unique_lock<std::timed_mutex> lock_;
  };

 private:
  struct Waiting {
    os::Spawning process;  // nobody waits for its exec
    LauncherFds ends;
    os::Pipe parameters;  // both ends: as long as we could read it ourselves, writing raises no SIGPIPE
    [[nodiscard]] bool has_ended();
  };
  [[nodiscard]] std::optional<NotStarted> start_one();
  void become(const LaunchPlan& request);
  void forget_the_dead();
  void end_all() noexcept;

  const std::size_t most_;
  std::timed_mutex mutex_;
  std::atomic<std::uint32_t> born_in_{0};
  std::optional<BootKind> kind_;
  std::deque<Waiting> waiting_;  // the oldest first: it has come farthest
};

}  // namespace ipcm::launch
