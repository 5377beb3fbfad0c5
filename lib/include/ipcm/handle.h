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

/// A handle on a service, for a process that is no service itself. It owns a client on the bus of the service.
/// From ipcm_service(), it also owns the child process of the start and, if the bus was made for this service,
/// the bus. From ipcm_handle(), it owns the client only.
///
/// A move-only value that belongs to one thread at a time. In a forked child it does nothing. Each call on a
/// handle that was moved away throws UsageError.
///
/// If the handle owns the bus, its destructor ends the service (by message, then SIGTERM, then SIGKILL, each
/// with a time limit) and takes the bus down, without reporting errors; shutdown() does the same and reports
/// errors. If the handle does not own the bus, a service that is ready runs on. A start that is not yet
/// decided is ended, unless it was made without waiting (ipcm_service_nowait).
class Handle : public PeerRequester {
 public:
  Handle(Handle&&) noexcept;
  Handle& operator=(Handle&&) noexcept;
  ~Handle() override;

  [[nodiscard]] const std::string& service_name() const override;
  [[nodiscard]] const BusInfo& info() const;
  [[nodiscard]] Client& client();

  /// Returns the pid of the process that the library made. The service may be another process if post_fork
  /// forked again.
  [[nodiscard]] std::optional<Pid> child_pid() const;
  [[nodiscard]] std::optional<Pid> service_pid() const;
  /// Returns the time from the call to ready; zero while the service is not ready, and from ipcm_handle().
  [[nodiscard]] Duration time_to_ready() const;
  /// Returns whether the service is ready; false: not yet. With a limit, waits for it. Throws LaunchError if
  /// the start has failed. For a service that another process has started: whether it can receive.
  bool ready();
  bool ready(Duration limit);

  /// If this handle owns the bus, ends the service, takes the bus down, and returns the end of the service's
  /// process, if it is known. Otherwise leaves the bus, and returns nullopt. A second call does nothing.
  /// Throws as Guard::shutdown() does.
  std::optional<ExitStatus> shutdown();
  /// Leaves the bus: the service runs on, and the bus stays. A start that is not yet decided goes on only if
  /// it was made without waiting; otherwise it is ended.
  void release();
  /// Ends the service, also if another process owns the bus: by message, then SIGTERM, then SIGKILL, each
  /// with a time limit. Sends signals only to a child of this process; another one is asked, and waited for
  /// (15 s). Returns the end of the process, if it is known. The handle stays usable.
  std::optional<ExitStatus> end_service();

  /// For an event loop of the caller, as in Client.
  [[nodiscard]] int fd() const;
  void dispatch();

 protected:
  [[nodiscard]] client::PendingRequests& requests() const override;

 private:
  friend Handle ipcm_service(const std::string&, const ServiceOptions&);
  friend Handle ipcm_service_begin(const std::string&, const ServiceOptions&);
  friend Handle ipcm_service_nowait(const std::string&, ServiceOptions);
  friend Handle ipcm_handle(const std::string&, const BusInfo&);
  struct State;
  explicit Handle(std::shared_ptr<State>);
  [[nodiscard]] State& state() const;
  std::shared_ptr<State> state_;
};

/// Returns a handle on a service of that name, no matter which process has started it, or will start it. Throws
/// BusError if there is no such bus.
[[nodiscard]] Handle ipcm_handle(const std::string& service, const BusInfo& info);

/// A handle of a service on another peer of its bus. A small value, valid as long as the Service that made
/// it.
class Peer : public PeerRequester {
 public:
  [[nodiscard]] const std::string& service_name() const override { return name_; }
  /// Returns the pid of the process that the library made, if this service started the peer.
  [[nodiscard]] std::optional<Pid> child_pid() const;
  [[nodiscard]] std::optional<Pid> service_pid() const;
  /// Returns whether the peer is ready; with a limit, waits for it. Throws LaunchError if its start has
  /// failed.
  bool ready();
  bool ready(Duration limit);
  std::string send_message(const Content& content);

 protected:
  [[nodiscard]] client::PendingRequests& requests() const override;

 private:
  friend class Service;
  Peer(Service& owner, std::string name) : owner_(&owner), name_(std::move(name)) {}
  Service* owner_;
  std::string name_;
};

}  // namespace ipcm
