#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ipcm/basics.h"
#include "ipcm/bus.h"
#include "ipcm/client.h"
#include "ipcm/requester.h"

namespace ipcm {

class Service;
struct ServiceOptions;

/// What one holds who started a service from outside: a client on its bus, the service's process, and, if the
/// bus was made for it, the bus.
///
/// A move-only value that belongs to one thread at a time; inert in forked children. Destroying it ends the
/// service (by message, then SIGTERM, then SIGKILL, each bounded) and takes down the bus it owns; silent.
/// shutdown() does the same and reports. A handle on a bus that somebody else owns leaves the service
/// running, once it is ready; a start that is still under way is ended, unless it was made without waiting
/// (ipcm_service_nowait). Each call on a handle that was moved away throws UsageError.
class Handle : public PeerRequester {
 public:
  Handle(Handle&&) noexcept;
  Handle& operator=(Handle&&) noexcept;
  ~Handle() override;

  [[nodiscard]] const std::string& service_name() const override;
  [[nodiscard]] const BusInfo& info() const;
  [[nodiscard]] Client& client();

  /// Pid of the process that was made first; the service itself may be another one if post_fork forked again.
  [[nodiscard]] std::optional<Pid> child_pid() const;
  [[nodiscard]] std::optional<Pid> service_pid() const;
  /// From the call to ready; zero while not ready.
  [[nodiscard]] Duration time_to_ready() const;
  /// Whether it is up; with a limit, waits for that. Throws LaunchError if it can't come up any more. false:
  /// not yet.
  bool ready();
  bool ready(Duration limit);

  /// Ends the service and takes down the bus, if owned. Returns how the service's process ended, where that
  /// can be known. A second call does nothing.
  std::optional<ExitStatus> shutdown();
  /// Lets go: the service runs on, and the bus stays. A start that is still under way goes on only if it was
  /// made without waiting; otherwise it is ended.
  void release();
  /// Ends the service, whoever owns the bus: by message, then SIGTERM, then SIGKILL, each bounded. Signals go
  /// to a child of this process only. Returns how it ended, where that can be known. The handle stays.
  std::optional<ExitStatus> end_service();

  /// For somebody else's event loop, as with Client.
  [[nodiscard]] int fd() const;
  void dispatch();

 protected:
  [[nodiscard]] service::PendingRequests& requests() const override;

 private:
  friend Handle ipcm_service(const std::string&, const ServiceOptions&);
  friend Handle ipcm_service_begin(const std::string&, const ServiceOptions&);
  friend Handle ipcm_service_nowait(const std::string&, ServiceOptions);
  struct State;
  explicit Handle(std::shared_ptr<State>);
  [[nodiscard]] State& state() const;
  std::shared_ptr<State> state_;
};

/// What a service holds of another one on its bus. A small value; valid as long as the Service it came from.
class Peer : public PeerRequester {
 public:
  [[nodiscard]] const std::string& service_name() const override { return name_; }
  /// Pid of the process that was made first, if this service started it.
  [[nodiscard]] std::optional<Pid> child_pid() const;
  [[nodiscard]] std::optional<Pid> service_pid() const;
  /// Whether it is up; with a limit, waits for that. Throws the LaunchError of a start that failed.
  bool ready();
  bool ready(Duration limit);
  std::string send_message(const Content& content);

 protected:
  [[nodiscard]] service::PendingRequests& requests() const override;

 private:
  friend class Service;
  Peer(Service& owner, std::string name) : owner_(&owner), name_(std::move(name)) {}
  Service* owner_;
  std::string name_;
};

}  // namespace ipcm
