#include "bus/member.h"

#include <algorithm>
#include <ratio>
#include <utility>

#include "ipcm/error.h"
#include "os/descriptor.h"
#include "os/memory.h"
#include "os/random.h"
#include "os/time_limit.h"
#include "transport/protocols.h"
#include "wire/parsed_content.h"

namespace ipcm::bus {
namespace {

/// The time after which a Client gives up sending to a peer that does not read.
constexpr auto kSendTime = std::chrono::seconds(60);
/// The size at which the inbox is full, and senders have to wait.
constexpr std::size_t kLargestInbox = 64UL * 1024 * 1024;
/// The capacity, in messages, that an empty vector keeps.
constexpr std::size_t kLargestKeptInbox = 4096;
/// Counts for each message beside its content.
constexpr std::size_t kMessageOverhead = 256;
/// A larger message gains nothing in a batch, and would be copied.
constexpr std::size_t kLargestGathered = 8UL * 1024;

std::size_t size_of(const wire::IncomingMessage& message) { return message.size() + kMessageOverhead; }

}  // namespace

void clear_for_more(std::vector<wire::IncomingMessage>& messages) {
  if (messages.capacity() > kLargestKeptInbox) messages = {};
  messages.clear();
}

Member::Member(const transport::JoinRequest& request, std::shared_ptr<Loop> loop, Sending sending)
    : request_(request),
      loop_(std::move(loop)),
      sending_(sending),
      protocol_(transport::find_protocol(request.info.protocol)),
      born_in_(os::generation()),
      inbox_limit_(kLargestInbox) {
  transport::expect_no_url(request.info.route);
  request_.serializer = wire::make_serializer(request.info);
  transport_ = protocol_.join(request_, *loop_, *this);
  keeps_messages_ = protocol_.keeps_messages();
}

Member::~Member() { leave_silently(); }

void Member::leave_silently() noexcept {
  try {
    leave(os::Deadline::passed());
  } catch (const std::exception&) {
    // The transport lets go of its place in any case.
  }
}

void Member::expect_usable() const {
  if (born_in_ != os::generation())
    throw UsageError(
        "the client '" + name() +
        "' belongs to the process that joined the bus, not to one forked from it; join under another name");
  if (left_) throw UsageError("the client '" + name() + "' has left the bus");
}

void Member::stamp(Message& message, std::chrono::system_clock::time_point now) {
  // The stamp has the resolution of the wire. Otherwise two messages with different stamps here could have
  // the same stamp there, and a reader that sorts by it could exchange them. It never goes backwards.
  using Ticks = std::chrono::duration<std::int64_t, std::ratio<1, 100'000>>;
  const auto ticks = std::chrono::floor<Ticks>(now.time_since_epoch()).count();
  const double seconds = static_cast<double>(ticks) / static_cast<double>(Ticks::period::den);
  last_ord_ = seconds > last_stamp_ ? 0 : last_ord_ + 1;
  last_stamp_ = std::max(last_stamp_, seconds);
  message.stamp = last_stamp_;
  message.stamp_ord = last_ord_;
}

std::string Member::send(std::string_view to, const Content& content, bool broadcast) {
  if (content.is_null()) throw UsageError("a message to '" + std::string(to) + "' may not be null");
  const bool gather = batches_ > 0 && !broadcast && content.size() <= kLargestGathered;
  const auto now = std::chrono::system_clock::now();
  Message message{os::make_uuid(now), name(), std::string(to), 0, 0, broadcast, {}};
  transmit(message, now, wire::ContentSlices::of(content), gather ? When::with_others : When::now);
  return std::move(message.id);
}

void Member::send_slices(std::string id, std::string_view to, const wire::ContentSlices& content,
                         std::uint64_t connection) {
  Message message{std::move(id), name(), std::string(to), 0, 0, false, {}};
  transmit(message, std::chrono::system_clock::now(), content, When::now, connection);
}

void Member::transmit(Message& message, std::chrono::system_clock::time_point now,
                      const wire::ContentSlices& content, When when, std::uint64_t connection) {
  using Sent = transport::Transport::Sent;
  expect_usable();
  os::keep_heap();  // not at the start: a service that is asked nothing needs none
  if (batches_ > 0 && when == When::now) send_batch_to(message.to);
  stamp(message, now);
  const auto [sent, why] = when != When::now ? transport_->gather(message, content)
                           : connection != 0 ? transport_->reply(message, content, connection)
                                             : transport_->send_slices(message, content);
  sent_at_ = losses_;
  settle(message.to, sent, why, 1);
  ++statistics_.sent[message.to];
  if (sent == Sent::ripe) send_batch_to(message.to);
}

std::string Member::subject(const std::string& to, std::size_t messages) const {
  return (messages == 1 ? "the message" : "the batch of " + std::to_string(messages) + " messages") +
         " from '" + name() + "' to '" + to + "' ";
}

PeerGone Member::not_taken_whole(const HandedOver& handed) const {
  const auto& [peer, messages] = handed.batch;
  return PeerGone(peer, subject(peer, messages) + "was not taken whole: " + handed.why);
}

void Member::settle(const std::string& to, transport::Transport::Sent sent, const std::string& why,
                    std::size_t messages) {
  switch (sent) {
    case transport::Transport::Sent::done:
    case transport::Transport::Sent::gathered:
    case transport::Transport::Sent::ripe:
      return;
    case transport::Transport::Sent::gone:
      throw PeerGone(to, subject(to, messages) + "can't be sent: " + why);
    case transport::Transport::Sent::full:
      throw Error(subject(to, messages) + "can't be sent: " + why);
    case transport::Transport::Sent::queued:
      if (sending_ == Sending::queues) return;
      // The receiver may wait for other peers, which wait for messages in the batch.
      if (batches_ > 0) hand_over_all();
      await_taken(to, messages);
  }
}

void Member::await_taken(const std::string& to, std::size_t messages) {
  using Sent = transport::Transport::Sent;
  const auto self = awaited_.insert(awaited_.end(), {{to, messages}, Sent::queued, {}});
  bool taken = false;
  try {
    // The loop also reads meanwhile: otherwise two members that send each other much would wait for ever.
    taken = loop_->run_until([&] { return transport_->queued_bytes(to) == 0 || !ended_.empty(); },
                             os::limited(kSendTime));
    if (!taken) transport_->abandon(to);
  } catch (...) {
    awaited_.erase(self);
    throw;
  }
  const HandedOver handed = std::move(*self);
  awaited_.erase(self);
  if (has_messages()) loop_->nudge();  // a caller that waits for fd() is to see the messages read meanwhile
  if (!taken)
    throw Timeout(subject(to, messages) +
                  "was not taken in time (60 s, or the caller's limit): the receiver does not read, or the "
                  "bus is locked or can't be reached; it was given up");
  if (handed.lost) throw not_taken_whole(handed);
  expect_bus();
  for (HandedOver& other : handed_over_)
    if (other.batch.peer == to && other.sent == Sent::queued && !other.lost) other.sent = Sent::done;
}

Member::HandedOver Member::hand_over(const transport::Transport::Gathered& batch) {
  HandedOver handed{batch, transport::Transport::Sent::full, {}};
  try {
    auto [sent, why] = transport_->send_gathered(batch.peer);
    handed.sent = sent;
    handed.why = std::move(why);
  } catch (const Error& error) {
    handed.why = error.what();
  }
  sent_at_ = losses_;
  return handed;
}

void Member::hand_over_all() {
  for (const auto& batch : transport_->gathered()) handed_over_.push_back(hand_over(batch));
}

void Member::settle(const HandedOver& handed) {
  const auto& [peer, messages] = handed.batch;
  try {
    if (handed.lost) throw not_taken_whole(handed);
    settle(peer, handed.sent, handed.why, messages);
  } catch (...) {
    // Counted when they were gathered.
    if (auto& count = statistics_.sent[peer]; count >= messages) count -= messages;
    throw;
  }
}

void Member::send_batch_to(const std::string& to) {
  for (const auto& batch : transport_->gathered())
    if (batch.peer == to) settle(hand_over(batch));
}

template <class Failed>
void Member::send_all_gathered(Failed&& failed) {
  hand_over_all();
  while (!handed_over_.empty()) {
    try {
      // It stays where undelivered() finds it until its turn to be waited for.
      const HandedOver handed = std::move(handed_over_.front());
      handed_over_.pop_front();
      settle(handed);
    } catch (const std::exception& error) {
      failed(error);
    }
  }
}

void Member::send_batch() {
  if (batches_ == 0) return;
  expect_usable();
  std::exception_ptr first;
  send_all_gathered([&](const std::exception&) {
    if (!first) first = std::current_exception();
  });
  if (first) std::rethrow_exception(first);
}

void Member::end_batch() noexcept {
  try {
    if (!left_ && born_in_ == os::generation())
      send_all_gathered([this](const std::exception& error) { dropped(error.what()); });
  } catch (const std::exception&) {
    // A destructor has called this: the error has no receiver.
  }
  --batches_;
}

void Member::broadcast(const Content& content) {
  expect_usable();
  if (content.is_null()) throw UsageError("a broadcast may not be null");
  send_batch();  // before the loop: an error here is not about a peer that left since it was listed
  for (const std::string& peer : transport_->peers()) {
    try {
      send(peer, content, true);
    } catch (const PeerGone&) {
      continue;  // it left since it was listed
    }
  }
}

std::vector<Message> Member::take() {
  prepare_inbox();
  std::vector<Message> taken;
  taken.reserve(inbox_.size());
  for (wire::IncomingMessage& incoming : inbox_)
    taken.push_back(incoming.parsed ? std::move(incoming).whole() : std::move(incoming.message));
  clear_for_more(inbox_);
  if (keeps_messages_)
    for (const Message& message : taken) unfinished_.push_back(message.id);
  return taken;
}

void Member::finish_taken() { finish(std::exchange(unfinished_, {})); }

void Member::finish(const std::vector<std::string>& ids) {
  if (!ids.empty() && !left_ && born_in_ == os::generation()) transport_->acknowledge(ids);
}

void Member::take_each(std::vector<wire::IncomingMessage>& into) {
  prepare_inbox();
  inbox_.swap(into);
}

void Member::on_answer(OnAnswer answered, IncomingRequests requests) {
  on_answer_ = std::move(answered);
  incoming_requests_ = requests;
  if (!on_answer_) return;
  inbox_bytes_ = 0;
  for (wire::IncomingMessage& message : std::exchange(inbox_, {})) {
    if (!classify(message)) continue;
    inbox_bytes_ += size_of(message);
    inbox_.push_back(std::move(message));
  }
}

bool Member::classify(wire::IncomingMessage& message) {
  if (!message.parsed)
    message.parsed =
        wire::parse_in_place(message.message.content, incoming_requests_ == IncomingRequests::parsed);
  if (message.parsed->meaning != wire::Meaning::response) return true;
  if (keeps_messages_) finished_answers_.push_back(message.message.id);
  ++statistics_.read[message.message.from];
  const OnAnswer answered = on_answer_;  // the call may replace it
  answered(message.message.from, *message.parsed);
  return false;
}

void Member::finish_answers() {
  if (!finished_answers_.empty()) finish(std::exchange(finished_answers_, {}));
}

void Member::prepare_inbox() {
  inbox_bytes_ = 0;
  if (std::exchange(paused_, false) && !left_) transport_->receive(true);
  const auto earlier = [](const wire::IncomingMessage& one, const wire::IncomingMessage& other) {
    const Message &a = one.message, &b = other.message;
    return a.stamp != b.stamp ? a.stamp < b.stamp : a.stamp_ord < b.stamp_ord;
  };
  // Mostly they are many of one sender, in order.
  bool in_order = true;
  const wire::IncomingMessage* before = nullptr;
  std::uint64_t* count = nullptr;
  for (const wire::IncomingMessage& incoming : inbox_) {
    if (before == nullptr || before->message.from != incoming.message.from)
      count = &statistics_.read[incoming.message.from];
    ++*count;
    if (before != nullptr && earlier(incoming, *before)) in_order = false;
    before = &incoming;
  }
  // Only a sender with several connections to us can be out of order; sorting keeps the order of equals.
  if (!in_order) std::stable_sort(inbox_.begin(), inbox_.end(), earlier);
}

void Member::requeue(const std::vector<Message>& messages) {
  expect_usable();
  transport_->requeue(messages);
  std::vector<std::string> replaced;  // messages that were put back: the ones that were read are finished
  for (const Message& message : messages) {
    auto& count = statistics_.read[message.from];
    if (count == 0) (void)statistics();  // it was read by one before us
    if (count > 0) --count;
    const auto open = std::find(unfinished_.begin(), unfinished_.end(), message.id);
    if (open == unfinished_.end()) continue;
    unfinished_.erase(open);
    replaced.push_back(message.id);
  }
  finish(replaced);
  loop_->nudge();  // a caller that waits for fd() has something to read again
}

const Statistics& Member::statistics() {
  if (std::exchange(knows_past_, true)) return statistics_;
  try {
    const Statistics past = transport_->past();
    for (const auto& [peer, count] : past.sent) statistics_.sent[peer] += count;
    for (const auto& [peer, count] : past.read) statistics_.read[peer] += count;
  } catch (const Error&) {
    // Unreadable statistics count as none: they must not prevent leaving.
  }
  return statistics_;
}

std::size_t Member::unread() const {
  return static_cast<std::size_t>(
      std::count_if(inbox_.begin(), inbox_.end(), [](const wire::IncomingMessage& incoming) {
        const auto meaning =
            incoming.parsed ? incoming.parsed->meaning : wire::classify(incoming.message.content).meaning;
        return meaning != wire::Meaning::terminate;
      }));
}

void Member::drain() {
  if (!paused_) transport_->drain();
}

void Member::drain_beyond_limit() {
  if (!paused_ || inbox_bytes_ >= 2 * kLargestInbox) return drain();
  paused_ = false;
  inbox_limit_ = 2 * kLargestInbox;
  const auto restore = [this] {
    inbox_limit_ = kLargestInbox;
    pause_if_full();
  };
  try {
    transport_->receive(true);
    transport_->drain();
  } catch (...) {
    restore();
    throw;
  }
  restore();
}

template <class Condition>
bool Member::await_change(Condition&& condition, os::Deadline deadline) {
  send_batch();
  transport_->watch_peers();  // before the first look, so that no change is missed
  for (;;) {
    const std::uint64_t seen = peer_changes_;
    if (condition()) return true;
    expect_bus();
    if (!loop_->run_until([&] { return peer_changes_ != seen; }, deadline)) return condition();
  }
}

bool Member::await_active(const std::string& peer, os::Deadline deadline) {
  expect_usable();
  const os::TimeLimit limit(deadline);
  return await_change([&] { return transport_->look(peer).state == transport::PeerFacts::State::active; },
                      deadline);
}

bool Member::await_gone(const std::string& peer, os::Deadline deadline) {
  expect_usable();
  const os::TimeLimit limit(deadline);
  return await_change(
      [&] {
        const auto state = transport_->look(peer).state;
        return state == transport::PeerFacts::State::absent || state == transport::PeerFacts::State::dead;
      },
      deadline);
}

void Member::leave(os::Deadline flush) {
  if (left_ || born_in_ != os::generation()) return;
  if (telling_ > 0) {
    to_leave_ = true;
    return;
  }
  sending_ = Sending::queues;  // the queues of all peers are awaited below, at once
  if (batches_ > 0) send_all_gathered([this](const std::exception& error) { dropped(error.what()); });
  loop_->run_until([&] { return transport_->queued_messages() == 0; }, flush);
  finish_taken();
  finish_answers();
  left_ = true;
  transport_->leave(keeps_statistics_ ? statistics() : Statistics{});
}

void Member::suspend(std::optional<double> expires, os::Deadline flush) {
  expect_usable();
  send_batch();
  loop_->run_until([&] { return transport_->queued_messages() == 0; }, flush);
  finish_taken();
  transport_->suspend(keeps_statistics_ ? statistics() : Statistics{}, expires);
  left_ = true;
}

void Member::incoming(wire::IncomingMessage message) {
  os::keep_heap();
  ++incoming_;
  if (on_answer_ && !classify(message)) return;
  inbox_bytes_ += size_of(message);
  inbox_.push_back(std::move(message));
  pause_if_full();
}

void Member::pause_if_full() {
  if (paused_ || inbox_bytes_ < inbox_limit_ || !transport_) return;
  paused_ = true;
  transport_->receive(false);
}

void Member::connection_lost(const std::string& peer, std::uint64_t link) {
  ++peer_changes_;
  ++losses_;
  if (link_lost_) link_lost_(peer, link);
}

void Member::bus_ended(const std::string& why) {
  ++peer_changes_;
  if (ended_.empty()) ended_ = why;
}

void Member::expect_bus() const {
  if (!ended_.empty()) throw BusError(ended_);
}

void Member::undelivered(const std::string& peer, std::size_t messages, const std::string& why) {
  // A caller that waits for these messages gets an exception, and no diagnostic in addition.
  bool is_told = false;
  for (std::list<HandedOver>* waiting : {&awaited_, &handed_over_})
    for (HandedOver& handed : *waiting) {
      if (handed.batch.peer != peer || handed.sent != transport::Transport::Sent::queued) continue;
      if (!std::exchange(handed.lost, true)) handed.why = why;
      is_told = true;
    }
  if (!is_told) Receiver::undelivered(peer, messages, why);
}

void Member::dropped(const std::string& sentence) {
  ++dropped_;
  if (!diagnostics_ || to_leave_) return;
  // The callback may destroy its client, or replace itself.
  const auto kept = weak_from_this().lock();
  const Diagnostics tell = diagnostics_;
  ++telling_;
  try {
    tell(sentence);
  } catch (...) {
    --telling_;
    throw;
  }
  --telling_;
  // The transport is still at work: it ends in a later turn of the loop, unless a call of the client holds
  // it.
  if (kept && kept.use_count() == 1) end_ = loop_->at(os::Clock::now(), [kept] {});
}

}  // namespace ipcm::bus
