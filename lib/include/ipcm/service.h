#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/bus.h"
#include "ipcm/callbacks.h"
#include "ipcm/client.h"
#include "ipcm/content.h"
#include "ipcm/requester.h"

namespace ipcm {

class Handle;
class Peer;
class Registry;
class Service;
struct ServiceOptions;
namespace service {
class ServiceRuntime;
struct Setup;
}  // namespace service

/// A request that somebody sent to a service. A value: copy it to answer later.
class Request {
 public:
  Request(std::string id, std::string from, Content payload, std::uint64_t connection = 0)
      : id_(std::move(id)), from_(std::move(from)), payload_(std::move(payload)), connection_(connection) {}
  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  [[nodiscard]] const std::string& from() const noexcept { return from_; }
  [[nodiscard]] const Content& raw() const noexcept { return payload_; }
  /// The same, moved out; what is left is null.
  [[nodiscard]] Content take() && { return std::exchange(payload_, Content()); }
  /// For the library itself: becomes a request of the same id and sender, with its own payload.
  void assign_address(const Request& other) {
    id_ = other.id_;
    from_ = other.from_;
    connection_ = other.connection_;
  }
  template <class T>
  [[nodiscard]] T as() const {
    return payload_.as<T>("request");
  }
  /// For the library itself: the connection that it came on, where its answer goes; 0: none.
  [[nodiscard]] std::uint64_t connection() const noexcept { return connection_; }

 private:
  std::string id_, from_;
  Content payload_;
  std::uint64_t connection_ = 0;
};

/// Returned from handle_request: "not now; send_response() will follow".
struct Later {};
inline constexpr Later later{};

/// What a request handler returns: a value, or `later`. To answer with an error, throw.
class Answer {
 public:
  Answer(Later) {}
  template <class T>
  requires(std::convertible_to<T, Content> && !detail::NoPayload<T>) Answer(T&& value)
      : content_(Content(std::forward<T>(value))) {}
  template <detail::NoPayload T>
  requires(!std::same_as<T, Answer> && !std::same_as<T, Later>) Answer(const T& value) : content_(value) {}
  [[nodiscard]] const std::optional<Content>& content() const noexcept { return content_; }

 private:
  std::optional<Content> content_;
};

/// What woke a service: handed to on_all and to a service's one callback.
struct Activity {
  struct Ended {
    Pid pid = 0;
    ExitStatus status;
  };
  bool interval = false;
  std::vector<Message> messages;          ///< General messages: neither requests nor responses.
  std::map<std::string, int> peer_delta;  ///< +1 came, -1 went.
  std::vector<Pid> pid_watch;             ///< Watched processes that ended.
  std::vector<Ended> pids;                ///< Children that ended and were no workers.
  std::map<int, unsigned> sigs;           ///< Signal number → how often.
  bool terminated = false;
};

/// The callbacks of one service; each is a list, called in order.
struct Callbacks {
  CallbackList<Service&> on_start;
  CallbackList<Service&, const Activity&> on_all;
  CallbackList<Service&> on_interval;
  CallbackList<Service&, const Message&> on_general_message;
  CallbackList<Service&, const std::map<std::string, int>&> on_peer_delta;
  CallbackList<Service&, Pid, ExitStatus> on_pid;
  std::map<int, CallbackList<Service&>> on_sig;  ///< By signal number.
  /// Gets of an activity what no callback of its own kind took: messages without an on_general_message, and
  /// so on. on_all, which hears of everything, does not count; nor do overridden methods of a class.
  CallbackList<Service&, const Activity&> on_unhandled;
  QuestionList<Service&> should_end;  ///< Asked at the end of each turn.
  CallbackList<Service&> on_cleanup;
};

/// A process that a service forked for itself: see Service::ipcm_worker().
struct Worker {
  std::string name;
  Pid pid = 0;
};

/// Descriptors of the streams that a service was started with, before they were redirected; -1: there is
/// none. Borrowed: they live as long as the Service.
struct OriginalIo {
  int in = -1, out = -1, err = -1;
};

/// What a service is made from: its name, its bus, its options. Passed through by constructors, never looked
/// into.
class ServiceSetup {
 public:
  explicit ServiceSetup(std::unique_ptr<service::Setup>);
  ServiceSetup(ServiceSetup&&) noexcept;
  ServiceSetup& operator=(ServiceSetup&&) noexcept;
  ~ServiceSetup();
  [[nodiscard]] const std::string& name() const;

 private:
  friend class service::ServiceRuntime;
  std::unique_ptr<service::Setup> setup_;
};

/// A process that answers requests: derive from it, override handle_request, register the class.
///
/// Life: constructed (not on the bus yet) → joins the bus → on_start → ready → turns of the loop → on_cleanup
/// → gone. What the constructor or on_start throws ends it, and whoever launched it is told. All calls come
/// from the one thread that runs the loop; nothing runs between turns. In this process the library is the
/// host: it blocks and reads the signals SIGTERM, SIGINT, SIGCHLD and those named in on_sig, and reaps all
/// children.
class Service : public Requester {
 public:
  explicit Service(ServiceSetup setup);
  ~Service() override;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // To override. Each base version calls the callbacks of that name.
  virtual void on_start();
  virtual Answer handle_request(const Request& request);
  /// The same for who keeps or hands on what was asked, and need not copy it (Request::take()). The base
  /// version calls handle_request().
  virtual Answer take_request(Request&& request);
  virtual void on_general_message(const Message& message);
  virtual void on_interval();
  virtual void on_activity(const Activity& activity);  ///< After the others, once a turn.
  virtual void on_cleanup();
  virtual bool should_end();

  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] const BusInfo& info() const;
  [[nodiscard]] Callbacks& callbacks();
  [[nodiscard]] Client& client();
  [[nodiscard]] const Registry& registry() const;

  /// Answers a request that was put off. Throws PeerGone if the requester left.
  void send_response(const Request& request, const Content& answer);
  void send_error(const Request& request, const std::string& text);

  /// Ends the loop after this turn; the process exits with `code`. The first call wins.
  void terminate(int code = 0);

  /// Have on_peer_delta and Activity::peer_delta told. On by itself when on_peer_delta or on_all has a
  /// callback at start.
  void watch_peers();

  /// Starts a service on this bus and waits until it is ready; see ipcm_service(). Throws LaunchError.
  Peer ipcm_service(const std::string& name, const ServiceOptions& options);
  /// The same, at once: requests are held until it is ready, or fail with its LaunchError.
  Peer ipcm_service_nowait(const std::string& name, const ServiceOptions& options);
  /// Forks a process that runs `work` and exits with what it returns (70 if it throws). It is no client of
  /// the bus, holds none of this service's sockets and locks, and is not told of on_pid. It ends with the
  /// service: SIGTERM when that ends, SIGKILL 15 s later, or at once if the service is killed. All that it
  /// can use of this object is plain data. Throws SystemError; UsageError in a process with several threads,
  /// whose locks would be copied as they stand, unless `allow_threads`.
  Pid ipcm_worker(const std::string& name, const std::function<int()>& work, bool allow_threads = false);
  /// Those that run, in the order they were made.
  [[nodiscard]] std::vector<Worker> workers();
  /// How long workers have between SIGTERM and SIGKILL; 15 s.
  void worker_patience(Duration span);

  /// Where stdin, stdout and stderr led before a redirect; where nothing was redirected, the streams
  /// themselves.
  [[nodiscard]] OriginalIo orig_io() const;

  /// Somebody on this bus, started by whomever.
  [[nodiscard]] Peer peer(const std::string& name);

  [[nodiscard]] service::ServiceRuntime& runtime() const;  ///< For the library itself.

 protected:
  [[nodiscard]] service::PendingRequests& requests() const override;

 private:
  std::unique_ptr<service::ServiceRuntime> runtime_;
};

}  // namespace ipcm
