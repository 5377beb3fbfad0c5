#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/pending_requests.h"
#include "ipcm/client.h"
#include "ipcm/service.h"
#include "launch/launch.h"
#include "service/setup.h"

namespace ipcm::service {

/// The services that a service starts on its own bus. It owns their processes: they end with it.
class ChildServices {
 public:
  /// All must outlive it.
  ChildServices(const Setup& parent, Loop& loop, Client& client, client::PendingRequests& requests)
      : parent_(parent), loop_(loop), client_(client), requests_(requests) {}

  /// Starts a service, and waits until it is ready if `wait` says so; otherwise requests to it are held until
  /// then. Throws UsageError, LaunchError.
  void start(const std::string& name, const ServiceOptions& options, bool wait);
  /// Returns whether a service is ready, after waiting for it if there is a deadline. Throws LaunchError if its
  /// start has failed. A service that this one has not started is ready when it is active on the bus.
  bool ready(const std::string& name, std::optional<os::Deadline> wait);
  /// Takes over a service that runs on this bus already, and that another process has started. It is treated as one that
  /// this service has started and that is ready, and ends with this object. `process`: its proven pidfd. The kernel, or
  /// else its obituary, has its exit status.
  void adopt(const std::string& name, Pid pid, os::UniqueFd process);
  /// Lets the services that are started from now on end with that process, and not with this one. `owner`: its pidfd,
  /// borrowed.
  void leash_to(int owner) { leash_ = owner; }
  /// Null: it was not started here.
  [[nodiscard]] launch::Launch* find(const std::string& name);

  /// Returns the services that run, or are being started. The pid is that of the process that was made for it.
  [[nodiscard]] std::vector<Worker> running();
  /// Returns the children that have ended since the last call.
  [[nodiscard]] std::vector<Activity::Ended> take_ended();
  /// Ends all: asks them to terminate, then SIGTERM, then SIGKILL, each with its time.
  void end();

 private:
  const Setup& parent_;
  Loop& loop_;
  Client& client_;
  client::PendingRequests& requests_;
  struct Started {
    std::unique_ptr<launch::Launch> launch;
    bool is_end_told = false;
  };
  /// Removes an entry. Its end, if take_ended() has not returned it yet, is kept for the next call.
  void forget(const std::string& name);
  void collect_end(Started& started);

  std::map<std::string, Started> launches_;
  std::vector<Activity::Ended> ended_;  // for take_ended()
  int leash_ = -1;
};

}  // namespace ipcm::service
