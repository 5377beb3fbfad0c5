#include "ipcm/requester.h"

#include <utility>

#include "client/call.h"

namespace ipcm {
namespace {

client::Call begin_call(client::PendingRequests& requests) {
  return client::Call(requests.shared_from_this());
}

}  // namespace

Response::Response(std::string id, std::string from, std::exception_ptr failure)
    : id_(std::move(id)), from_(std::move(from)), failure_(std::move(failure)) {
  try {
    std::rethrow_exception(failure_);
  } catch (const std::exception& error) {
    error_ = error.what();
  } catch (...) {
    error_ = "unknown error";
  }
}

std::string Requester::send_request(std::string_view peer, const Content& payload, ResponseCallback callback,
                                    const MessageOptions& options) {
  return begin_call(requests()).requests().send(std::string(peer), payload, std::move(callback), options);
}
Response Requester::sync_request(std::string_view peer, const Content& payload, Duration limit,
                                 const MessageOptions& options) {
  Response response =
      begin_call(requests()).requests().ask(std::string(peer), payload, os::Deadline::limit(limit), options);
  (void)response.content();  // throws if there is none
  return response;
}
std::optional<Response> Requester::get_response(const std::string& id) {
  return begin_call(requests()).requests().get(id);
}
Response Requester::await_response(const std::string& id, Duration limit) {
  // NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
  const std::string kept = id;  // a callback may destroy the owner of `id`
  return begin_call(requests()).requests().await(kept, os::Deadline::limit(limit));
}
void Requester::forget_request(const std::string& id) { begin_call(requests()).requests().forget(id); }
void Requester::await_all_responses(Duration limit) {
  begin_call(requests()).requests().await_all(os::Deadline::limit(limit));
}
bool Requester::have_pending_responses() {
  requests().member().expect_usable();
  return requests().have_pending();
}
void Requester::on_unmatched_response(ResponseCallback callback) {
  requests().on_unmatched(std::move(callback));
}
std::vector<Message> Requester::messages() { return begin_call(requests()).requests().messages(); }

}  // namespace ipcm
