#pragma once

// Example: a class of services, and a boot binary that has it.
//
//     class Counter final : public ipcm::Service {
//      public:
//       explicit Counter(ipcm::ServiceSetup setup) : Service(std::move(setup)) {}
//       ipcm::Answer handle_request(const ipcm::Request& request) override {
//         return total_ += request.as<int>();
//       }
//
//      private:
//       int total_ = 0;
//     };
//
//     ipcm::Registry registry = ipcm::builtin_services();
//     registry.add<Counter>("counter", "adds the numbers that it is sent");
//     return ipcm::boot(argc, argv, registry);

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

/// A request that a peer has sent to a service. A value: a copy can be answered later.
class Request {
 public:
  Request(std::string id, std::string from, Content payload, std::uint64_t connection = 0, Fields fields = {})
      : id_(std::move(id)),
        from_(std::move(from)),
        payload_(std::move(payload)),
        connection_(connection),
        fields_(std::move(fields)) {}
  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  [[nodiscard]] const std::string& from() const noexcept { return from_; }
  [[nodiscard]] const Content& raw() const noexcept { return payload_; }
  /// Returns the requester's own fields.
  [[nodiscard]] const Fields& fields() const noexcept { return fields_; }
  /// Moves the payload out, and leaves null.
  [[nodiscard]] Content take() && { return std::exchange(payload_, Content()); }
  /// For the library itself: copies the id, the sender and the connection of another request.
  void assign_address(const Request& other) {
    id_ = other.id_;
    from_ = other.from_;
    connection_ = other.connection_;
  }
  template <class T>
  [[nodiscard]] T as() const {
    return payload_.as<T>("request");
  }
  /// For the library itself: the connection on which the request came and the answer goes; 0: none.
  [[nodiscard]] std::uint64_t connection() const noexcept { return connection_; }

 private:
  std::string id_, from_;
  Content payload_;
  std::uint64_t connection_ = 0;
  Fields fields_;
};

/// The return value of handle_request() if the service answers later, with send_response().
struct Later {};
inline constexpr Later later{};

/// The return value of a request handler: a value, or `later`. A handler throws to answer with an error.
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

/// The events of one turn of a service, for on_all and on_activity().
struct Activity {
  struct Ended {
    Pid pid = 0;
    ExitStatus status;
  };
  bool interval = false;
  std::vector<Message> messages;          ///< General messages: neither requests nor responses.
  std::map<std::string, int> peer_delta;  ///< +1: the peer has joined, -1: it has left.
  std::vector<Pid> pid_watch;             ///< Watched processes that have ended.
  std::vector<Ended> pids;                ///< Children that have ended, without the workers.
  std::map<int, unsigned> sigs;           ///< Signal number → number of receipts.
  bool terminated = false;
};

/// The callbacks of one service. Each is a list, which is called in order.
struct Callbacks {
  CallbackList<Service&> on_start;
  CallbackList<Service&, const Activity&> on_all;
  CallbackList<Service&> on_interval;
  CallbackList<Service&, const Message&> on_general_message;
  CallbackList<Service&, const std::map<std::string, int>&> on_peer_delta;
  CallbackList<Service&, Pid, ExitStatus> on_pid;
  std::map<int, CallbackList<Service&>> on_sig;  ///< By signal number.
  /// Called with the events that have no callback of their kind: with messages if on_general_message is
  /// empty, and so on. on_all and the overridden methods of a class do not count as callbacks here.
  CallbackList<Service&, const Activity&> on_unhandled;
  QuestionList<Service&> should_end;  ///< Called at the end of each turn. true: the service ends.
  CallbackList<Service&> on_cleanup;
};

/// The events for which Service::watch() waits.
enum class Readiness { none, readable, writable, both };

/// A process that a service has forked as its helper; see Service::ipcm_worker().
struct Worker {
  std::string name;
  Pid pid = 0;
};

/// The descriptors of the standard streams before they were redirected; -1: there is none. Borrowed: they
/// are valid as long as the Service.
struct OriginalIo {
  int in = -1, out = -1, err = -1;
};

/// The name, the bus and the options of a service. Constructors pass it on to Service.
class ServiceSetup {
 public:
  /// The setup of a service that this process runs itself (Service::run()). Uses the callbacks of the options, and
  /// interval, spin, watch_pids, registry, intercept_errors and expose_error_details; the others are about a start.
  /// Throws UsageError for wrong options.
  ServiceSetup(const std::string& name, const BusInfo& info, const ServiceOptions& options);
  // For the library itself.
  explicit ServiceSetup(std::unique_ptr<service::Setup>);
  ServiceSetup(ServiceSetup&&) noexcept;
  ServiceSetup& operator=(ServiceSetup&&) noexcept;
  ~ServiceSetup();
  [[nodiscard]] const std::string& name() const;
  /// Returns the class that the launcher has asked for; empty for a service of callbacks.
  [[nodiscard]] const std::string& class_name() const;

 private:
  friend class service::ServiceRuntime;
  std::unique_ptr<service::Setup> setup_;
};

/// A process that answers requests. Derive a class from it, override handle_request, and register the class.
///
/// Its life: constructor (not yet on the bus) → the bus is joined → on_start → ready → turns of the loop →
/// on_cleanup → destructor. If the constructor or on_start throws, the service ends, and its launcher gets
/// the error. All callbacks run in the one thread that runs the loop, during its turns.
///
/// The library controls the process: it blocks SIGTERM, SIGINT, SIGCHLD and the signals in on_sig, reads them
/// in the loop, and reaps all children.
class Service : public Requester {
 public:
  explicit Service(ServiceSetup setup);
  ~Service() override;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// Runs the service in this process, without a launcher: joins the bus, calls on_start, serves until the service
  /// ends, calls on_cleanup, and leaves. Returns the exit code of terminate(). Notifies systemd if $NOTIFY_SOCKET
  /// is set. Throws BusError and NameTaken if it can't join, and what a callback throws. Call it once, and not for
  /// a service that the library has made.
  ///
  /// It takes charge of the process as a service does: it ignores SIGPIPE and SIGXFSZ from now on, reads the
  /// signals above while it runs, and reaps all children.
  int run();

  // To override. Each base version calls the callbacks of ServiceOptions; on_activity() calls on_all.
  virtual void on_start();
  /// Returns the answer to a request, or `later`: then send_response() or send_error() must follow, or the
  /// requester waits in vain. If it throws, the requester gets an error, which has the text of the exception
  /// if `expose_error_details` is set; stderr gets one line, and the service goes on, also without
  /// `intercept_errors`.
  virtual Answer handle_request(const Request& request);
  /// The library calls this function for each request, and the base version calls handle_request(): a class
  /// overrides one of the two. This one may keep the request, move the payload out (Request::take()), or
  /// leave it as it is; the answer finds its way in each case.
  virtual Answer take_request(Request&& request);
  virtual void on_general_message(const Message& message);
  virtual void on_interval();
  virtual void on_activity(const Activity& activity);  ///< Called once a turn, after the functions above.
  virtual void on_cleanup();
  virtual bool should_end();

  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] const BusInfo& info() const;
  [[nodiscard]] Callbacks& callbacks();
  [[nodiscard]] Client& client();
  [[nodiscard]] const Registry& registry() const;

  /// Answers a request for which the handler returned `later`. Throws PeerGone if the requester has left.
  void send_response(const Request& request, const Content& answer);
  /// As send_response(), but the requester gets a RemoteError with this text.
  void send_error(const Request& request, const std::string& text);

  /// Ends the loop after this turn; the process exits with `code`. Only the first call has an effect.
  void terminate(int code = 0);

  /// Enables on_peer_delta and Activity::peer_delta. The service does this by itself if on_peer_delta or
  /// on_all has a callback when on_start returns.
  void watch_peers();

  /// Watches a descriptor of the caller in the loop of this service: `callback` runs once in each turn in which the
  /// descriptor is ready, or has an error or a hang-up. A further call for a descriptor replaces the events and the
  /// callback; `none` ends the watch. The descriptor is borrowed, and must stay open until then. Throws SystemError
  /// for a regular file, and UsageError before the service has joined the bus.
  void watch(int fd, Readiness wanted, std::function<void()> callback = {});

  /// Starts a service on this bus and waits until it is ready; see ipcm_service(). Throws LaunchError.
  Peer ipcm_service(const std::string& name, const ServiceOptions& options);
  /// As ipcm_service(), but returns at once. The library holds requests to the new service until it is ready;
  /// if the start fails, they fail with its LaunchError.
  Peer ipcm_service_nowait(const std::string& name, const ServiceOptions& options);
  /// Forks a process that runs `work` and exits with its result, or with 70 if it throws. The worker is no
  /// client of the bus, and holds no sockets and locks of this service; it may use only plain data of this
  /// object. Its end does not call on_pid. When the service ends, the worker gets SIGTERM, and SIGKILL 15 s
  /// later; if the service is killed, SIGKILL at once. Throws SystemError. Throws UsageError in a process
  /// with several threads, unless `allow_threads` is set: a fork would copy their locks in their current
  /// state.
  Pid ipcm_worker(const std::string& name, const std::function<int()>& work, bool allow_threads = false);
  /// Returns the workers that run, in the order in which they were made.
  [[nodiscard]] std::vector<Worker> workers();
  /// Sets the time between SIGTERM and SIGKILL for workers. Default: 15 s.
  void worker_patience(Duration span);

  /// Returns stdin, stdout and stderr as they were before they were redirected. For a stream without a kept
  /// original, returns the stream itself.
  [[nodiscard]] OriginalIo orig_io() const;

  /// Returns a handle on a peer of this bus, no matter which process started it.
  [[nodiscard]] Peer peer(const std::string& name);

  [[nodiscard]] service::ServiceRuntime& runtime() const;  ///< For the library itself.

 protected:
  [[nodiscard]] client::PendingRequests& requests() const override;

 private:
  std::unique_ptr<service::ServiceRuntime> runtime_;
};

}  // namespace ipcm
