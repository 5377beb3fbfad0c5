#pragma once

#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/content.h"
#include "ipcm/error.h"
#include "ipcm/message.h"

namespace ipcm {

namespace client {
class PendingRequests;
}

/// The result of a request: an answer, or the reason why there is none.
class Response {
 public:
  Response(std::string id, std::string from, Content content)
      : id_(std::move(id)), from_(std::move(from)), content_(std::move(content)) {}
  Response(std::string id, std::string from, std::exception_ptr failure);

  [[nodiscard]] const std::string& id() const noexcept { return id_; }      ///< The id of the request.
  [[nodiscard]] const std::string& from() const noexcept { return from_; }  ///< The receiver of the request.
  [[nodiscard]] bool ok() const noexcept { return !failure_; }
  /// The reason why there is no answer; empty if there is one.
  [[nodiscard]] const std::string& error() const noexcept { return error_; }
  /// Returns the answer. Throws the error if there is none: RemoteError, PeerGone, LaunchError.
  [[nodiscard]] const Content& content() const {
    if (failure_) std::rethrow_exception(failure_);
    return content_;
  }
  template <class T>
  [[nodiscard]] T as() const {
    return content().as<T>("the answer of '" + from_ + "'");
  }

 private:
  std::string id_, from_, error_;
  Content content_;
  std::exception_ptr failure_;
};

using ResponseCallback = std::function<void(const Response&)>;

/// An object that sends requests and collects answers: the common part of Handle, Peer and Service.
///
/// A request ends in exactly one Response: the answer, or the reason why there is none. If the peer ends
/// while the caller waits, the library first reads the messages that the peer has sent, and then ends the
/// request at once. Callbacks run inside the calls that wait or read (await…, sync_request, get_response,
/// messages, dispatch, and those of Client) and, in a service, in its loop.
///
/// A callback may shut down, release, disconnect, move or destroy its Handle or Client. After that none of its
/// callbacks runs, and a call that still waits for another answer throws UsageError.
class Requester {
 public:
  virtual ~Requester() = default;

  /// Sends a request and returns its id. Without a callback, the caller gets the response with get_response()
  /// or await_response(). Throws PeerGone if there is no such peer.
  std::string send_request(std::string_view peer, const Content& payload, ResponseCallback callback = {},
                           const MessageOptions& options = {});
  /// Sends a request and waits for the answer; the Response that it returns is always ok(). Throws PeerGone,
  /// RemoteError, LaunchError, and Timeout; after a timeout the library drops the answer.
  Response sync_request(std::string_view peer, const Content& payload, Duration limit = kNoLimit,
                        const MessageOptions& options = {});
  template <class T>
  T sync_request(std::string_view peer, const Content& payload, Duration limit = kNoLimit,
                 const MessageOptions& options = {}) {
    return sync_request(peer, payload, limit, options).template as<T>();
  }

  /// Returns the response if it has arrived. Returns it once: throws UsageError for an id that is unknown,
  /// has a callback, or whose response was already returned.
  std::optional<Response> get_response(const std::string& id);
  /// Waits for the response and returns it. Throws Timeout; then the request stays open.
  Response await_response(const std::string& id, Duration limit = kNoLimit);
  /// Gives a request up: the library drops its response, and its callback does not run. Does nothing for a request
  /// that is not open any more. The service is not told.
  void forget_request(const std::string& id);
  /// Waits until no request is open. Throws Timeout.
  void await_all_responses(Duration limit = kNoLimit);
  [[nodiscard]] bool have_pending_responses();

  /// Sets the callback for responses to requests that this requester has not made. Without one, a Client returns
  /// them from get_messages(), and a Handle or a Service drops and reports them.
  void on_unmatched_response(ResponseCallback callback);
  /// Returns the messages that have arrived, without the responses to own requests, in order of arrival.
  [[nodiscard]] std::vector<Message> messages();

 protected:
  Requester() = default;
  Requester(const Requester&) = default;
  Requester& operator=(const Requester&) = default;
  [[nodiscard]] virtual client::PendingRequests& requests() const = 0;
};

/// A Requester that belongs to one peer: calls without the name of a peer go to that peer.
class PeerRequester : public Requester {
 public:
  using Requester::send_request;
  using Requester::sync_request;
  /// Returns the name of that peer.
  [[nodiscard]] virtual const std::string& service_name() const = 0;

  std::string send_request(const Content& payload, ResponseCallback callback = {},
                           const MessageOptions& options = {}) {
    return send_request(service_name(), payload, std::move(callback), options);
  }
  Response sync_request(const Content& payload, Duration limit = kNoLimit,
                        const MessageOptions& options = {}) {
    return Requester::sync_request(service_name(), payload, limit, options);
  }
  template <class T>
  T sync_request(const Content& payload, Duration limit = kNoLimit, const MessageOptions& options = {}) {
    return Requester::sync_request(service_name(), payload, limit, options).template as<T>();
  }
};

}  // namespace ipcm
