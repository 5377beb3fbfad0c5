#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ipcm/service.h"
#include "os/child.h"
#include "os/clock.h"

namespace ipcm::service {

/// The processes that a service forks for itself, with ipcm_worker(). It owns them: a worker that still runs
/// when this object goes is killed. Nobody is told when one ends.
class Workers {
 public:
  /// The name of the service, for messages.
  explicit Workers(std::string service) : service_(std::move(service)) {}

  /// Forks. The child runs `work`, and exits with its result; what `work` throws is reported on stderr, with
  /// exit status 70. Throws UsageError, SystemError. See Service::ipcm_worker() for threads.
  Pid start(const std::string& name, const std::function<int()>& work, bool allow_threads);
  /// Returns the workers that run.
  [[nodiscard]] std::vector<Worker> running();
  /// Drops the workers that have been reaped.
  void forget_ended();

  /// Sends SIGTERM to all. end() waits for them.
  void begin_to_end();
  /// Waits until the patience that began with begin_to_end() is over, then kills the rest.
  void end();
  void set_patience(Duration span) { patience_ = span; }

 private:
  struct OwnWorker {
    std::string name;
    os::Child child;
  };
  std::string service_;
  std::vector<OwnWorker> workers_;
  Duration patience_ = std::chrono::seconds(15);
  os::Deadline ends_ = os::Deadline::never();
};

}  // namespace ipcm::service
