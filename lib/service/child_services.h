#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
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
  std::map<std::string, std::unique_ptr<launch::Launch>> launches_;
  std::set<Pid> told_;  // returned by take_ended()
};

}  // namespace ipcm::service
