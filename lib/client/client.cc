#include "ipcm/client.h"

#include <utility>

#include "bus/member.h"
#include "bus/transient_client.h"
#include "client/call.h"
#include "ipcm/error.h"
#include "os/time_limit.h"
#include "wire/parsed_content.h"

namespace ipcm {
namespace {

constexpr auto kFlushTime = std::chrono::seconds(5);

void expect_not_anonymous(const bus::Member& member, const char* what) {
  if (member.is_anonymous())
    throw UsageError(std::string("an anonymous client can't ") + what +
                     ": peers do not see it; join under a name with ipcm_connect()");
}

}  // namespace

Client::Client(std::shared_ptr<client::PendingRequests> requests) : requests_(std::move(requests)) {}
Client::Client(Client&&) noexcept = default;

Client& Client::operator=(Client&& other) noexcept {
  if (this != &other) {
    const Client old(std::move(*this));
    requests_ = std::move(other.requests_);
  }
  return *this;
}

Client::~Client() {
  if (!requests_) return;
  // A call of this client may be under way, and one of its callbacks may have destroyed it.
  requests_->close();
  requests_->member().leave_silently();
}

const std::shared_ptr<client::PendingRequests>& Client::shared_requests() const {
  if (!requests_) throw UsageError("this client was moved away");
  return requests_;
}

client::PendingRequests& Client::requests() const { return *shared_requests(); }
const std::shared_ptr<bus::Member>& Client::shared_member() const { return requests().shared_member(); }
bus::Member& Client::member() const { return requests().member(); }

const std::string& Client::id() const { return member().name(); }
const BusInfo& Client::info() const { return member().info(); }

std::string Client::send_message(std::string_view to, const Content& content, const MessageOptions& options) {
  const client::Call call(shared_requests());
  return call->sender().send(to, content, options);
}

bool Client::try_message(std::string_view to, const Content& content, std::string* why,
                         const MessageOptions& options) {
  const client::Call call(shared_requests());
  try {
    call->sender().send(to, content, options);
    return true;
  } catch (const UsageError&) {
    throw;  // not the peer's fault
  } catch (const Error& error) {
    if (why != nullptr) *why = error.what();
    return false;
  }
}

Batch Client::batch() {
  member().expect_usable();
  return Batch(shared_member());
}

Batch::Batch(std::shared_ptr<bus::Member> member) : member_(std::move(member)) {
  member_->sender().begin_batch();
}
Batch::Batch(Batch&& other) noexcept = default;
Batch::~Batch() {
  if (member_ != nullptr) member_->sender().end_batch();
}
void Batch::flush() {
  if (member_ == nullptr) throw UsageError("this batch was moved away");
  member_->expect_usable();
  member_->sender().send_batch();
}

BroadcastResult Client::broadcast(const Content& content, const MessageOptions& options) {
  const client::Call call(shared_requests());
  return call->sender().broadcast(content, options);
}

std::vector<Message> Client::get_messages() {
  const client::Call call(shared_requests());
  return call.requests().messages();
}

std::vector<Message> Client::wait_for_messages(Duration limit) {
  const client::Call call(shared_requests());
  call->expect_usable();
  expect_not_anonymous(*call.operator->(), "wait for messages");
  const auto deadline = os::Deadline::limit(limit);
  const os::TimeLimit scope(deadline);
  const auto is_over = [&] {
    call.requests().process();
    return !call->inbox().empty() || call.requests().is_over();
  };
  call->sender().send_batch();
  call->inbox().finish_taken();
  call->inbox().drain();  // messages that were put back do not wake the loop
  if (!is_over()) {
    call->notice_removal();
    call->loop().run_until([&] { return is_over() || !call->ended().empty(); }, deadline);
    if (!call.requests().is_over()) call->inbox().drain();
    if (!is_over()) call->expect_bus();
  }
  if (call->is_to_leave()) return {};
  call.requests().expect_open();
  return call->inbox().take();
}

void Client::requeue_message(const Message& message) { requeue_messages({message}); }
void Client::requeue_messages(const std::vector<Message>& messages) {
  member().expect_usable();
  for (const Message& message : messages)
    if (!message.fields.empty()) member().expect_carries_fields();
  member().inbox().requeue(messages);
}

std::vector<std::string> Client::peers() {
  member().expect_usable();
  return member().transport().peers();
}

bool Client::peer_exists(std::string_view name) {
  using State = transport::PeerFacts::State;
  member().expect_usable();
  const State state = member().transport().look(std::string(name)).state;
  return state == State::active || state == State::present || state == State::suspended;
}

bool Client::peer_active(std::string_view name) {
  member().expect_usable();
  return member().transport().look(std::string(name)).state == transport::PeerFacts::State::active;
}

bool Client::peer_active(std::string_view name, Duration limit) {
  const client::Call call(shared_requests());
  return call->await_active(std::string(name), os::Deadline::limit(limit));
}

std::optional<Pid> Client::peer_pid(std::string_view name) {
  member().expect_usable();
  const Pid pid = member().transport().look(std::string(name)).pid;
  return pid > 0 ? std::optional<Pid>(pid) : std::nullopt;
}

Statistics Client::statistics() const { return member().counts().total(); }
std::map<std::string, Statistics> Client::all_statistics() {
  member().expect_usable();
  return member().transport().all_statistics();
}
std::size_t Client::pending_sends() const { return member().transport().queued_messages(); }
bool Client::can_send_to(std::string_view peer) const {
  return member().transport().queued_bytes(std::string(peer)) == 0;
}

void Client::disconnect(const std::function<void(const Message&)>& handler) {
  const client::Call call(shared_requests());  // the handler may destroy this client
  bus::Member& self = call.requests().member();
  if (self.has_left()) return;
  self.expect_usable();
  if (self.is_telling()) return self.leave(os::Deadline::passed());  // takes effect after the callback
  self.transport().keep_requeued();
  const auto hand_over = [&] {
    for (const Message& message : self.inbox().take())
      if (wire::classify(message.content).meaning != wire::Meaning::terminate) handler(message);
  };
  const auto limit = os::limited(kFlushTime);
  do {
    self.inbox().finish_taken();
    self.inbox().drain();
    if (!handler || self.inbox().empty()) break;
    hand_over();
  } while (!limit.has_passed());
  self.leave(os::limited(kFlushTime));
  if (handler) hand_over();  // messages that came while leaving
  const std::size_t unread = self.inbox().unread();
  if (unread > 0)
    throw Error("messages waiting at disconnect for " + self.name() + ": " + std::to_string(unread) +
                " were not read; give disconnect() a handler for them");
}

namespace {

void suspend_until(std::optional<double> expires, std::shared_ptr<client::PendingRequests> requests) {
  const client::Call call(std::move(requests));
  expect_not_anonymous(*call.operator->(), "be suspended");
  call->suspend(expires, os::limited(kFlushTime));
}

}  // namespace

void Client::suspend() { suspend_until(std::nullopt, shared_requests()); }
void Client::suspend(Duration expires_in) {
  suspend_until(os::wall_clock_seconds() + std::chrono::duration<double>(expires_in).count(),
                shared_requests());
}
void Client::suspend(std::chrono::system_clock::time_point expires_at) {
  suspend_until(std::chrono::duration<double>(expires_at.time_since_epoch()).count(), shared_requests());
}

int Client::fd() const { return member().loop().fd(); }

void Client::spin(Duration longest) {
  if (longest < Duration::zero() || longest > std::chrono::seconds(1))
    throw UsageError("spin: between 0 and a second, not longer");
  member().loop().spin(longest);
}
void Client::dispatch() {
  const client::Call call(shared_requests());
  call->expect_usable();
  call->loop().drain();
  call.requests().process();
}

void Client::on_peer_delta(PeerDeltaCallback callback) { requests().on_peer_delta(std::move(callback)); }

void Client::on_diagnostic(Diagnostics tell) { member().on_diagnostic(std::move(tell)); }
std::uint64_t Client::dropped() const { return member().dropped_count(); }

namespace {

Client join(std::string_view name, const BusInfo& info, bool reconnect) {
  transport::JoinRequest request;
  request.info = info;
  request.name = name;
  request.reconnect = reconnect;
  using client::PendingRequests;
  return Client(std::make_shared<PendingRequests>(
      std::make_shared<bus::Member>(request, std::make_shared<Loop>(), bus::Member::Sending::waits),
      PendingRequests::IncomingRequests::whole, PendingRequests::UnmatchedAnswers::keep));
}

}  // namespace

Client ipcm_connect_anonymous(const BusInfo& info) {
  using client::PendingRequests;
  return Client(std::make_shared<PendingRequests>(bus::join_unseen(info),
                                                  PendingRequests::IncomingRequests::whole,
                                                  PendingRequests::UnmatchedAnswers::keep));
}
Client ipcm_connect_anonymous(std::string_view info) { return ipcm_connect_anonymous(BusInfo::parse(info)); }

Client ipcm_connect(std::string_view name, const BusInfo& info) { return join(name, info, false); }
Client ipcm_connect(std::string_view name, std::string_view info) {
  return join(name, BusInfo::parse(info), false);
}
Client ipcm_reconnect(std::string_view name, const BusInfo& info) { return join(name, info, true); }
Client ipcm_reconnect(std::string_view name, std::string_view info) {
  return join(name, BusInfo::parse(info), true);
}

}  // namespace ipcm
