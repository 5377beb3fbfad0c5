#include "transport/json_file/outbox.h"

#include <utility>

#include "ipcm/error.h"
#include "wire/envelope.h"
#include "wire/frame.h"

namespace ipcm::transport {
namespace {

/// The limit of unread messages of one receiver. Lower than in other protocols, since each message rewrites
/// the whole document.
constexpr std::size_t kLargestMailbox = 16UL * 1024 * 1024;

}  // namespace

std::string JsonOutbox::prepare(const Message& message) {
  std::string text = wire::write_envelope(message);
  if (text.size() > wire::kLargestFrame)
    throw ProtocolError("a message of " + std::to_string(text.size()) + " bytes to '" + message.to +
                        "' is larger than the limit of " + std::to_string(wire::kLargestFrame));
  return text;
}

JsonOutbox::SendResult JsonOutbox::put(JsonDocument& document, const std::string& to,
                                       const std::string& text) const {
  const PeerFacts::State state = presence_.judge(document, to).state;
  if (state == PeerFacts::State::absent || state == PeerFacts::State::dead) {
    return {Sent::gone,
            state == PeerFacts::State::dead ? "its process is gone" : "no such peer on the bus " + route_};
  }
  std::string& mailbox = document.messages.try_emplace(to, "[]").first->second;
  constexpr std::size_t kEmpty = 4;
  if (mailbox.size() > kEmpty && mailbox.size() + text.size() > kLargestMailbox) {
    return {Sent::full,
            "it does not read: " + std::to_string(mailbox.size()) + " bytes of messages wait for it already"};
  }
  append_element(mailbox, text);
  return Sent::done;
}

bool JsonOutbox::has_room(const std::string& to, std::size_t size) const {
  const std::size_t waiting = bytes_for(to);
  return waiting == 0 || waiting + size <= kLargestMailbox;
}

JsonOutbox::SendResult JsonOutbox::queue(std::string to, std::string text) {
  if (!has_room(to, text.size())) {
    const std::size_t waiting = bytes_for(to);
    return {Sent::full, "the bus at " + route_ + " is locked by another process, and " +
                            std::to_string(waiting) + " bytes wait for that already"};
  }
  queue_.push_back({std::move(to), std::move(text)});
  return Sent::queued;
}

bool JsonOutbox::flush(JsonDocument& document) {
  bool changed = false;
  for (const Outgoing& one : queue_) {
    auto [sent, why] = put(document, one.to, one.text);
    changed = changed || sent == Sent::done;
    if (sent != Sent::done) failed_.push_back({one.to, std::move(why), sent});
  }
  return changed;
}

void JsonOutbox::finish_flush() {
  queue_.clear();
  for (const Failed& one : std::exchange(failed_, {})) {
    if (one.how == Sent::gone)
      receiver_.undelivered(one.to, 1, one.why);
    else
      receiver_.dropped("a message to '" + one.to + "' was not delivered: " + one.why);
  }
}

std::size_t JsonOutbox::bytes_for(const std::string& peer) const {
  std::size_t bytes = 0;
  for (const Outgoing& one : queue_)
    if (one.to == peer) bytes += one.text.size();
  return bytes;
}

void JsonOutbox::abandon(const std::string& peer) {
  std::erase_if(queue_, [&](const Outgoing& one) { return one.to == peer; });
}

}  // namespace ipcm::transport
