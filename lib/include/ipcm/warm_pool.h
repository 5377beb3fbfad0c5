#pragma once

#include <cstddef>
#include <memory>

namespace ipcm {

struct ServiceOptions;

namespace launch {
class WarmBoots;
}

/// Processes of a boot binary that were started ahead of time and wait for their parameters: a start that
/// takes one of them needs no exec any more.
///
/// A value; its copies share the processes, which end with the last of them. `Exec{.warm = WarmPool(4)}`: the
/// first start executes the binary as always, and then starts two that wait; each later start takes one and
/// sees to two more, so that there are four again. It does so a millisecond after it is over, so that neither
/// the start nor a request behind it shares the processors with that: while something of the handle (or in
/// the service) is waited for or dispatched, or when the handle ends; at once only if nobody waits any more.
/// A start that finds none executes the binary.
///
/// All starts that share a pool should be alike but for class, name, bus and arguments. Where they differ
/// (binary, `args`, `env`, `directory`, `new_session`, detached), or where this process has changed since
/// (environment, working directory, standard streams, the file of the binary), those that wait are ended, and
/// new ones made. Without use for a start with redirected streams, without waiting, with post_fork, or with
/// parameters of more than 60 KiB: these execute the binary. What a process can't see in its environment it
/// has as it was when it was started: umask, limits, user, priority.
///
/// Any thread may use any copy. In a forked child a pool is empty, and fills anew.
class WarmPool {
 public:
  /// None: every start executes its boot binary.
  WarmPool() = default;
  explicit WarmPool(std::size_t processes);
  /// How many wait now, the dead ones not counted.
  [[nodiscard]] std::size_t waiting() const;
  [[nodiscard]] explicit operator bool() const { return boots_ != nullptr; }

  // For the library itself.
  [[nodiscard]] const std::shared_ptr<launch::WarmBoots>& boots() const { return boots_; }

 private:
  std::shared_ptr<launch::WarmBoots> boots_;
};

/// Fills the pool of options.exec, so that the first start finds it full; what the options say of class, name
/// and bus does not matter. Throws UsageError if there is no pool, LaunchError if the binary can't be
/// started.
void ipcm_warm_up(const ServiceOptions& options);

}  // namespace ipcm
