#include "bus/inbox.h"

#include <algorithm>
#include <utility>

#include "os/descriptor.h"
#include "os/memory.h"
#include "wire/parsed_content.h"

namespace ipcm::bus {
namespace {

/// The size at which the inbox is full, and senders have to wait.
constexpr std::size_t kLargestInbox = 64UL * 1024 * 1024;
/// The capacity, in messages, that an empty vector keeps.
constexpr std::size_t kLargestKeptInbox = 4096;
/// Counts for each message beside its content.
constexpr std::size_t kMessageOverhead = 256;

std::size_t size_of(const wire::IncomingMessage& message) { return message.size() + kMessageOverhead; }

}  // namespace

void clear_for_more(std::vector<wire::IncomingMessage>& messages) {
  if (messages.capacity() > kLargestKeptInbox) messages = {};
  messages.clear();
}

Inbox::Inbox(Loop& loop, MessageCounts& counts)
    : loop_(loop), counts_(counts), born_in_(os::generation()), limit_(kLargestInbox) {}

void Inbox::start(transport::Transport& transport, bool keeps_messages) {
  transport_ = &transport;
  keeps_messages_ = keeps_messages;
}

void Inbox::incoming(wire::IncomingMessage message) {
  os::keep_heap();
  ++incoming_;
  if (on_answer_ && !classify(message)) return;
  bytes_ += size_of(message);
  messages_.push_back(std::move(message));
  pause_if_full();
}

void Inbox::pause_if_full() {
  if (paused_ || bytes_ < limit_ || transport_ == nullptr) return;
  paused_ = true;
  transport_->receive(false);
}

bool Inbox::classify(wire::IncomingMessage& message) {
  if (!message.parsed)
    message.parsed =
        wire::parse_in_place(message.message.content, incoming_requests_ == IncomingRequests::parsed);
  if (message.parsed->meaning != wire::Meaning::response) return true;
  // Noted before the call, which may throw after it has used the answer.
  if (keeps_messages_) finished_answers_.push_back(message.message.id);
  ++counts_.read(message.message.from);
  const OnAnswer answered = on_answer_;  // the call may replace it
  if (answered(message.message.from, *message.parsed)) return false;
  --counts_.read(message.message.from);
  if (keeps_messages_) finished_answers_.pop_back();
  return true;
}

void Inbox::on_answer(OnAnswer answered, IncomingRequests requests) {
  on_answer_ = std::move(answered);
  incoming_requests_ = requests;
  if (!on_answer_) return;
  bytes_ = 0;
  auto waiting = std::exchange(messages_, {});
  const auto keep = [this](wire::IncomingMessage& message) {
    bytes_ += size_of(message);
    messages_.push_back(std::move(message));
  };
  auto next = waiting.begin();
  try {
    messages_.reserve(waiting.size());
    while (next != waiting.end()) {
      wire::IncomingMessage& message = *next++;
      if (classify(message)) keep(message);
    }
  } catch (...) {  // a diagnostics callback threw, or memory is short
    on_answer_ = {};
    std::for_each(next, waiting.end(), keep);
    throw;
  }
}

void Inbox::finish_answers() {
  if (!finished_answers_.empty()) finish(std::exchange(finished_answers_, {}));
}

void Inbox::finish(const std::vector<std::string>& ids) {
  if (!ids.empty() && !closed_ && born_in_ == os::generation()) transport_->acknowledge(ids);
}

void Inbox::finish_taken() { finish(std::exchange(unfinished_, {})); }

std::size_t Inbox::unread() const {
  return static_cast<std::size_t>(
      std::count_if(messages_.begin(), messages_.end(), [](const wire::IncomingMessage& incoming) {
        const auto meaning =
            incoming.parsed ? incoming.parsed->meaning : wire::classify(incoming.message.content).meaning;
        return meaning != wire::Meaning::terminate;
      }));
}

void Inbox::drain() {
  if (!paused_) transport_->drain();
}

void Inbox::drain_beyond_limit() {
  if (!paused_ || bytes_ >= 2 * kLargestInbox) return drain();
  paused_ = false;
  limit_ = 2 * kLargestInbox;
  const auto restore = [this] {
    limit_ = kLargestInbox;
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

void Inbox::prepare() {
  bytes_ = 0;
  if (std::exchange(paused_, false) && !closed_) transport_->receive(true);
  const auto earlier = [](const wire::IncomingMessage& one, const wire::IncomingMessage& other) {
    const Message &a = one.message, &b = other.message;
    return a.stamp != b.stamp ? a.stamp < b.stamp : a.stamp_ord < b.stamp_ord;
  };
  // Mostly they are many of one sender, in order.
  bool in_order = true;
  const wire::IncomingMessage* before = nullptr;
  std::uint64_t* count = nullptr;
  for (const wire::IncomingMessage& incoming : messages_) {
    if (before == nullptr || before->message.from != incoming.message.from)
      count = &counts_.read(incoming.message.from);
    ++*count;
    if (before != nullptr && earlier(incoming, *before)) in_order = false;
    before = &incoming;
  }
  // Only a sender with several connections to us can be out of order; sorting keeps the order of equals.
  if (!in_order) std::stable_sort(messages_.begin(), messages_.end(), earlier);
}

std::vector<Message> Inbox::take() {
  prepare();
  std::vector<Message> taken;
  taken.reserve(messages_.size());
  for (wire::IncomingMessage& incoming : messages_)
    taken.push_back(incoming.parsed ? std::move(incoming).whole() : std::move(incoming.message));
  clear_for_more(messages_);
  if (keeps_messages_)
    for (const Message& message : taken) unfinished_.push_back(message.id);
  return taken;
}

void Inbox::take_each(std::vector<wire::IncomingMessage>& into) {
  prepare();
  messages_.swap(into);
}

void Inbox::requeue(const std::vector<Message>& messages) {
  transport_->requeue(messages);
  std::vector<std::string> replaced;  // the copies that were taken, which are finished now
  for (const Message& message : messages) {
    counts_.uncount_read(message.from);
    const auto open = std::find(unfinished_.begin(), unfinished_.end(), message.id);
    if (open == unfinished_.end()) continue;
    unfinished_.erase(open);
    replaced.push_back(message.id);
  }
  finish(replaced);
  loop_.nudge();  // a caller that waits for fd() has something to read again
}

}  // namespace ipcm::bus
