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

namespace service {
class PendingRequests;
}

/// What came of a request: an answer, or why there is none.
class Response {
 public:
  Response(std::string id, std::string from, Content content)
      : id_(std::move(id)), from_(std::move(from)), content_(std::move(content)) {}
  Response(std::string id, std::string from, std::exception_ptr failure);

  [[nodiscard]] const std::string& id() const noexcept { return id_; }      ///< Of the request.
  [[nodiscard]] const std::string& from() const noexcept { return from_; }  ///< The peer that was asked.
  [[nodiscard]] bool ok() const noexcept { return !failure_; }
  /// Why there is no answer; empty if there is one.
  [[nodiscard]] const std::string& error() const noexcept { return error_; }
  /// The answer. Throws what happened instead: RemoteError, PeerGone, LaunchError.
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

/// Asking others: the part that Handle, Peer and Service share.
///
/// A request ends in exactly one Response: the answer, or the reason there will be none. A peer that dies
/// while we wait is noticed at once, after what it sent before its death was taken. Callbacks run inside the
/// calls that wait (await…, sync_request, dispatch) and, in a service, in its loop.
///
/// A callback may shut down, release, move or destroy the Handle that it came from. No further callback of
/// that Handle runs then, and a call that still waits for another answer throws UsageError.
class Requester {
 public:
  virtual ~Requester() = default;

  /// Sends a request and returns its id. Without a callback, the response is had with get_response() or
  /// await_response(). Throws PeerGone if there is no such peer.
  std::string send_request(std::string_view peer, const Content& payload, ResponseCallback callback = {});
  /// Sends a request and waits for the answer; the Response that it returns is always ok(). Throws Timeout,
  /// PeerGone, RemoteError, LaunchError.
  Response sync_request(std::string_view peer, const Content& payload, Duration limit = kNoLimit);
  template <class T>
  T sync_request(std::string_view peer, const Content& payload, Duration limit = kNoLimit) {
    return sync_request(peer, payload, limit).template as<T>();
  }

  /// The response, if it is there; it is handed out once. Throws UsageError for an id that is unknown, was
  /// handed out already, or has a callback.
  std::optional<Response> get_response(const std::string& id);
  /// Waits for it. Throws Timeout; the request stays open.
  Response await_response(const std::string& id, Duration limit = kNoLimit);
  /// Waits until no request is open. Throws Timeout.
  void await_all_responses(Duration limit = kNoLimit);
  [[nodiscard]] bool have_pending_responses();

  /// Messages that were no responses, in the order they came.
  [[nodiscard]] std::vector<Message> messages();

 protected:
  Requester() = default;
  Requester(const Requester&) = default;
  Requester& operator=(const Requester&) = default;
  [[nodiscard]] virtual service::PendingRequests& requests() const = 0;
};

/// A Requester with one peer in mind: every call without a peer's name goes to that one.
class PeerRequester : public Requester {
 public:
  using Requester::send_request;
  using Requester::sync_request;
  /// Name of that peer.
  [[nodiscard]] virtual const std::string& service_name() const = 0;

  std::string send_request(const Content& payload, ResponseCallback callback = {}) {
    return send_request(service_name(), payload, std::move(callback));
  }
  Response sync_request(const Content& payload, Duration limit = kNoLimit) {
    return Requester::sync_request(service_name(), payload, limit);
  }
  template <class T>
  T sync_request(const Content& payload, Duration limit = kNoLimit) {
    return Requester::sync_request(service_name(), payload, limit).template as<T>();
  }
};

}  // namespace ipcm
