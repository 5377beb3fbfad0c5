#pragma once

#include <cstddef>
#include <memory>

namespace ipcm {

struct ServiceOptions;

namespace launch {
class WarmBoots;
}

/// A pool of processes that have executed a boot binary in advance and wait for their parameters. A start
/// that uses one of them needs no exec. If none waits, a start executes the binary.
///
/// A value: its copies share the processes. When the last copy is destroyed, the processes end.
///
/// With `Exec{.warm = WarmPool(4)}`, the first start executes the binary, and then the pool starts two
/// processes. Each later start uses one process, and then the pool starts up to two, until four wait. It does
/// so 1 ms after the start, so that neither the start nor a first request competes for the processors. It
/// runs in calls that wait or dispatch (of the handle or the service), or when the handle is destroyed. If no
/// process waits any more, it runs at once.
///
/// The starts that share a pool should differ only in class, name, bus and arguments. The pool ends its
/// processes and makes new ones if a start has another binary, `args`, `env`, `directory`, `new_session`,
/// `detached` or database user, or if this process has changed (its environment, working directory, standard
/// streams, or the file of the binary). The pool does not notice changes of the umask, limits, user and
/// priority: a waiting process keeps the values that it had when it was started.
///
/// These starts execute the binary in any case: with redirected streams, with `log`, with post_fork, with
/// stderr that is not captured (as in a start from outside that does not wait), and with parameters of more
/// than 60 KiB.
///
/// Any thread may use any copy. In a forked child the pool is empty, and fills anew.
class WarmPool {
 public:
  /// Makes no pool: every start executes its boot binary.
  WarmPool() = default;
  explicit WarmPool(std::size_t processes);
  /// Returns the number of processes that wait and have not ended.
  [[nodiscard]] std::size_t waiting() const;
  [[nodiscard]] explicit operator bool() const { return boots_ != nullptr; }

  // For the library itself.
  [[nodiscard]] const std::shared_ptr<launch::WarmBoots>& boots() const { return boots_; }

 private:
  std::shared_ptr<launch::WarmBoots> boots_;
};

/// Fills the pool of options.exec, so that the first start finds it full. The class, the name and the route
/// of the bus have no effect. Throws UsageError if there is no pool or the options can't use one, LaunchError
/// if the binary can't be started, Timeout if another thread keeps the pool locked.
void ipcm_warm_up(const ServiceOptions& options);

}  // namespace ipcm
