#include "bus/sender.h"

#include <algorithm>
#include <ratio>
#include <utility>

#include "bus/member.h"
#include "os/clock.h"
#include "os/memory.h"
#include "os/random.h"
#include "os/time_limit.h"
#include "wire/content_slices.h"
#include "wire/fields.h"

namespace ipcm::bus {
namespace {

/// The time after which a Client gives up sending to a peer that does not read.
constexpr auto kSendTime = std::chrono::seconds(60);
/// A larger message gains nothing in a batch, and would be copied.
constexpr std::size_t kLargestGathered = 8UL * 1024;

}  // namespace

void Sender::stamp(Message& message, std::chrono::system_clock::time_point now) {
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

void Sender::check_fields(const Fields& fields) const {
  if (fields.empty()) return;
  member_.expect_carries_fields();
  wire::check_fields(fields);
}

std::string Sender::send(std::string_view to, const Content& content, const MessageOptions& options,
                         bool broadcast) {
  if (content.is_null()) throw UsageError("a message to '" + std::string(to) + "' may not be null");
  const bool gather = batches_ > 0 && !broadcast && content.size() <= kLargestGathered;
  const auto now = std::chrono::system_clock::now();
  Message message{os::make_uuid(now), member_.name(), std::string(to), 0, 0, broadcast, {}};
  check_fields(options.fields);
  message.fields = options.fields;
  transmit(message, now, wire::ContentSlices::of(content), gather ? When::with_others : When::now);
  return std::move(message.id);
}

void Sender::send_slices(std::string id, std::string_view to, const wire::ContentSlices& content,
                         std::uint64_t connection, const Fields& fields) {
  Message message{std::move(id), member_.name(), std::string(to), 0, 0, false, {}};
  check_fields(fields);
  message.fields = fields;
  transmit(message, std::chrono::system_clock::now(), content, When::now, connection);
}

void Sender::transmit(Message& message, std::chrono::system_clock::time_point now,
                      const wire::ContentSlices& content, When when, std::uint64_t connection) {
  using Sent = transport::Transport::Sent;
  member_.expect_usable();
  os::keep_heap();  // not at the start: a service that is asked nothing needs none
  if (batches_ > 0 && when == When::now) send_batch_to(message.to);
  stamp(message, now);
  const auto [sent, why] = when != When::now ? member_.transport().gather(message, content)
                           : connection != 0 ? member_.transport().reply(message, content, connection)
                                             : member_.transport().send_slices(message, content);
  sent_at_ = member_.losses();
  resolve(message.to, sent, why, 1);
  ++counts_.sent(message.to);
  if (sent == Sent::ripe) send_batch_to(message.to);
}

std::string Sender::subject(const std::string& to, std::size_t messages) const {
  return (messages == 1 ? "the message" : "the batch of " + std::to_string(messages) + " messages") +
         " from '" + member_.name() + "' to '" + to + "' ";
}

PeerGone Sender::not_taken_whole(const HandedOver& handed) const {
  const auto& [peer, messages] = handed.batch;
  return PeerGone(peer, subject(peer, messages) + "was not taken whole: " + handed.why);
}

void Sender::resolve(const std::string& to, transport::Transport::Sent sent, const std::string& why,
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

void Sender::await_taken(const std::string& to, std::size_t messages) {
  using Sent = transport::Transport::Sent;
  const auto self = awaited_.insert(awaited_.end(), {{to, messages}, Sent::queued, {}});
  bool taken = false;
  try {
    // The loop also reads meanwhile: otherwise two members that send each other much would wait for ever.
    taken = member_.loop().run_until(
        [&] { return member_.transport().queued_bytes(to) == 0 || !member_.ended().empty(); },
        os::limited(kSendTime));
    if (!taken) member_.transport().abandon(to);
  } catch (...) {
    awaited_.erase(self);
    throw;
  }
  const HandedOver handed = std::move(*self);
  awaited_.erase(self);
  if (!member_.inbox().empty())
    member_.loop().nudge();  // a caller that waits for fd() is to see the messages read meanwhile
  if (!taken)
    throw Timeout(subject(to, messages) +
                  "was not taken in time (60 s, or the caller's limit): the receiver does not read, or the "
                  "bus is locked or can't be reached; it was given up");
  if (handed.lost) throw not_taken_whole(handed);
  member_.expect_bus();
  for (HandedOver& other : handed_over_)
    if (other.batch.peer == to && other.sent == Sent::queued && !other.lost) other.sent = Sent::done;
}

Sender::HandedOver Sender::hand_over(const transport::Transport::Gathered& batch) {
  HandedOver handed{batch, transport::Transport::Sent::full, {}};
  try {
    auto [sent, why] = member_.transport().send_gathered(batch.peer);
    handed.sent = sent;
    handed.why = std::move(why);
  } catch (const Error& error) {
    handed.why = error.what();
  }
  sent_at_ = member_.losses();
  return handed;
}

void Sender::hand_over_all() {
  for (const auto& batch : member_.transport().gathered()) handed_over_.push_back(hand_over(batch));
}

void Sender::resolve(const HandedOver& handed) {
  const auto& [peer, messages] = handed.batch;
  try {
    if (handed.lost) throw not_taken_whole(handed);
    resolve(peer, handed.sent, handed.why, messages);
  } catch (...) {
    counts_.uncount_sent(peer, messages);  // counted when they were gathered
    throw;
  }
}

void Sender::send_batch_to(const std::string& to) {
  for (const auto& batch : member_.transport().gathered())
    if (batch.peer == to) resolve(hand_over(batch));
}

template <class Failed>
void Sender::send_all_gathered(Failed&& failed) {
  hand_over_all();
  while (!handed_over_.empty()) {
    try {
      // It stays where undelivered() finds it until its turn to be waited for.
      const HandedOver handed = std::move(handed_over_.front());
      handed_over_.pop_front();
      resolve(handed);
    } catch (const std::exception& error) {
      failed(error);
    }
  }
}

void Sender::send_batch() {
  if (batches_ == 0) return;
  member_.expect_usable();
  std::exception_ptr first;
  send_all_gathered([&](const std::exception&) {
    if (!first) first = std::current_exception();
  });
  if (first) std::rethrow_exception(first);
}

void Sender::end_batch() noexcept {
  try {
    if (member_.is_usable())
      send_all_gathered([this](const std::exception& error) { member_.note_dropped(error.what()); });
  } catch (const std::exception&) {
    // A destructor has called this: the error has no receiver.
  }
  --batches_;
}

BroadcastResult Sender::broadcast(const Content& content, const MessageOptions& options) {
  member_.expect_usable();
  if (content.is_null()) throw UsageError("a broadcast may not be null");
  send_batch();  // before the loop: an error here is not about a peer that left since it was listed
  BroadcastResult result;
  for (std::string& peer : member_.transport().peers()) {
    try {
      send(peer, content, options, true);
      result.sent.push_back(std::move(peer));
    } catch (const PeerGone&) {
      result.left.push_back(std::move(peer));
    } catch (const UsageError&) {
      throw;  // the content can't be sent to any peer
    } catch (const ProtocolError&) {
      throw;
    } catch (const Error& error) {
      member_.expect_bus();
      if (!result.first_failure) result.first_failure = std::current_exception();
      result.failed.emplace(std::move(peer), error.what());
    }
  }
  return result;
}

void Sender::finish() {
  sending_ = Sending::queues;
  if (batches_ > 0)
    send_all_gathered([this](const std::exception& error) { member_.note_dropped(error.what()); });
}

bool Sender::undelivered(const std::string& peer, const std::string& why) {
  bool awaited = false;
  for (std::list<HandedOver>* waiting : {&awaited_, &handed_over_})
    for (HandedOver& handed : *waiting) {
      if (handed.batch.peer != peer || handed.sent != transport::Transport::Sent::queued) continue;
      if (!std::exchange(handed.lost, true)) handed.why = why;
      awaited = true;
    }
  return awaited;
}

}  // namespace ipcm::bus
