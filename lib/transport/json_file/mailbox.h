#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "ipcm/message.h"
#include "transport/json_file/document.h"
#include "transport/transport.h"

namespace ipcm::transport {

/// The state of one member's messages in the document.
///
/// Messages stay in the document until they are acknowledged. Only this object knows which of them were
/// handed out, so that a successor of a reader that died gets them. The document may contain the same id
/// more than once: copies are counted.
class JsonMailbox {
 public:
  /// Copies of messages, by key_of_message().
  using Copies = std::unordered_map<std::string, std::size_t>;

  /// The receiver must outlive it.
  JsonMailbox(std::string owner, Receiver& receiver) : owner_(std::move(owner)), receiver_(receiver) {}

  /// Messages that were put back are not handed out any more: they are for a successor.
  void keep_put_back() { keeps_put_back_ = true; }
  /// Hands out the messages that are new since the last call.
  void hand_out(const JsonDocument& document);
  /// Returns, once, the keys of elements that are no messages and must be removed.
  [[nodiscard]] std::vector<std::string> take_broken() { return std::exchange(broken_, {}); }

  /// Returns those of these messages that were handed out and are not removed yet.
  [[nodiscard]] Copies finished(const std::vector<std::string>& ids);
  /// Removes messages from the document; false: there is no mailbox.
  [[nodiscard]] bool remove(JsonDocument& document, Copies messages) const;
  void forget(const Copies& removed);

  /// Puts messages before all others.
  void put_back(JsonDocument& document, const std::vector<Message>& messages) const;
  /// Call after the document was written.
  void note_put_back(const std::vector<Message>& messages);
  /// Removes all messages that were not put back.
  void empty(JsonDocument& document) const;

 private:
  std::string owner_;
  Receiver& receiver_;
  Copies handed_out_;
  std::unordered_map<std::string, std::string>
      keys_;  // of messages without an id, by the id that we gave them
  std::vector<std::string> broken_;
  std::unordered_set<std::string> put_back_;  // keys of messages that were put back and not read again
  bool keeps_put_back_ = false;
};

}  // namespace ipcm::transport
