#include "ipcm/client.h"

#include <utility>

#include "bus/member.h"
#include "bus/peer_changes.h"
#include "client/pending_requests.h"
#include "ipcm/error.h"
#include "os/time_limit.h"
#include "wire/parsed_content.h"

namespace ipcm {
namespace {

constexpr auto kFlushTime = std::chrono::seconds(5);

}  // namespace

/// The callback for changes among the peers.
struct Client::PeerWatcher {
  bus::PeerChanges changes;
  PeerDeltaCallback callback;

  void process() {
    if (!callback || !changes.has_news()) return;
    const auto delta = changes.take();
    const PeerDeltaCallback kept = callback;  // the call may replace it
    if (!delta.empty()) kept(delta);
  }
};

/// A call of a client. A callback may destroy, move or end the client meanwhile: the parts that the call uses
/// live until it is over, and the member leaves then.
class Client::Call {
 public:
  explicit Call(const Client& client)
      : member_(client.shared_member()), requests_(client.requests_), peers_(client.peers_) {}
  ~Call() {
    if (member_->is_to_leave() && !member_->is_telling()) member_->leave_silently();
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  bus::Member* operator->() const { return member_.get(); }

  /// Runs the callbacks that are due.
  void process() const {
    if (requests_) requests_->process();
    if (peers_ && !is_over()) peers_->process();
  }
  /// Returns whether a callback has ended the client.
  [[nodiscard]] bool is_over() const {
    return member_->is_to_leave() || member_->has_left() || (requests_ && requests_->is_closed());
  }
  [[nodiscard]] client::PendingRequests* requests() const { return requests_.get(); }

 private:
  std::shared_ptr<bus::Member> member_;
  std::shared_ptr<client::PendingRequests> requests_;
  std::shared_ptr<PeerWatcher> peers_;
};

Client::Client(std::shared_ptr<bus::Member> member, std::shared_ptr<client::PendingRequests> requests)
    : member_(std::move(member)), requests_(std::move(requests)) {}
Client::Client(Client&&) noexcept = default;

Client& Client::operator=(Client&& other) noexcept {
  if (this != &other) {
    const Client old(std::move(*this));
    member_ = std::move(other.member_);
    requests_ = std::move(other.requests_);
    peers_ = std::move(other.peers_);
  }
  return *this;
}

Client::~Client() {
  // A call of this client may be under way, and one of its callbacks may have destroyed it.
  if (requests_) requests_->close();
  if (peers_) peers_->callback = {};
  if (member_) member_->leave_silently();
}

const std::shared_ptr<bus::Member>& Client::shared_member() const {
  if (!member_) throw UsageError("this client was moved away");
  return member_;
}

bus::Member& Client::member() const { return *shared_member(); }

client::PendingRequests& Client::requests() const {
  using client::PendingRequests;
  // A client that sends no requests does not pay for the look at each message.
  if (!requests_)
    requests_ = std::make_shared<PendingRequests>(shared_member(), PendingRequests::IncomingRequests::whole,
                                                  PendingRequests::UnmatchedAnswers::keep);
  return *requests_;
}

const std::string& Client::id() const { return member().name(); }
const BusInfo& Client::info() const { return member().info(); }

std::string Client::send_message(std::string_view to, const Content& content) {
  const Call call(*this);
  return call->sender().send(to, content);
}

bool Client::try_message(std::string_view to, const Content& content, std::string* why) {
  const Call call(*this);
  try {
    call->sender().send(to, content);
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

BroadcastResult Client::broadcast(const Content& content) { return member().sender().broadcast(content); }

std::vector<Message> Client::get_messages() {
  const Call call(*this);
  if (call.requests() != nullptr) return call.requests()->messages();
  call->expect_usable();
  call->inbox().finish_taken();
  call->inbox().drain();
  return call->inbox().take();
}

std::vector<Message> Client::wait_for_messages(Duration limit) {
  const Call call(*this);
  call->expect_usable();
  const auto deadline = os::Deadline::limit(limit);
  const os::TimeLimit scope(deadline);
  const auto has_messages = [&] {
    call.process();
    return !call->inbox().empty() || call.is_over();
  };
  call->sender().send_batch();
  call->inbox().finish_taken();
  call->inbox().drain();  // messages that were put back do not wake the loop
  if (!has_messages()) {
    call->loop().run_until([&] { return has_messages() || !call->ended().empty(); }, deadline);
    if (!call.is_over()) call->inbox().drain();
    if (!has_messages()) call->expect_bus();
  }
  if (call->is_to_leave()) return {};
  if (call.requests() != nullptr) call.requests()->expect_open();
  call->expect_usable();
  return call->inbox().take();
}

void Client::requeue_message(const Message& message) { requeue_messages({message}); }
void Client::requeue_messages(const std::vector<Message>& messages) {
  member().expect_usable();
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
  return member().await_active(std::string(name), os::Deadline::limit(limit));
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
  const auto kept = shared_member();  // the handler may destroy this client
  bus::Member& self = *kept;
  if (self.has_left()) return;
  self.expect_usable();
  if (requests_) requests_->close();
  if (peers_) peers_->callback = {};
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

void Client::suspend() { member().suspend(std::nullopt, os::limited(kFlushTime)); }
void Client::suspend(Duration expires_in) {
  member().suspend(os::wall_clock_seconds() + std::chrono::duration<double>(expires_in).count(),
                   os::limited(kFlushTime));
}
void Client::suspend(std::chrono::system_clock::time_point expires_at) {
  member().suspend(std::chrono::duration<double>(expires_at.time_since_epoch()).count(),
                   os::limited(kFlushTime));
}

int Client::fd() const { return member().loop().fd(); }

void Client::spin(Duration longest) {
  if (longest < Duration::zero() || longest > std::chrono::seconds(1))
    throw UsageError("spin: between 0 and a second, not longer");
  member().loop().spin(longest);
}
void Client::dispatch() {
  const Call call(*this);
  call->expect_usable();
  call->loop().drain();
  call.process();
}

void Client::on_peer_delta(PeerDeltaCallback callback) {
  member().expect_usable();
  if (peers_)
    peers_->callback = std::move(callback);
  else if (callback)
    peers_ = std::make_shared<PeerWatcher>(PeerWatcher{bus::PeerChanges(member()), std::move(callback)});
}

void Client::on_diagnostic(Diagnostics tell) { member().on_diagnostic(std::move(tell)); }
std::uint64_t Client::dropped() const { return member().dropped_count(); }

namespace {

Client join(std::string_view name, const BusInfo& info, bool reconnect) {
  transport::JoinRequest request;
  request.info = info;
  request.name = name;
  request.reconnect = reconnect;
  return Client(
      std::make_shared<bus::Member>(request, std::make_shared<Loop>(), bus::Member::Sending::waits));
}

}  // namespace

Client ipcm_connect(std::string_view name, const BusInfo& info) { return join(name, info, false); }
Client ipcm_connect(std::string_view name, std::string_view info) {
  return join(name, BusInfo::parse(info), false);
}
Client ipcm_reconnect(std::string_view name, const BusInfo& info) { return join(name, info, true); }
Client ipcm_reconnect(std::string_view name, std::string_view info) {
  return join(name, BusInfo::parse(info), true);
}

}  // namespace ipcm
