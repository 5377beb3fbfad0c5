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

/// How far one member has come with the messages in its part of the document.
///
/// They stay there until they were dealt with; which of them were handed out is known here only, so that a
/// successor finds those of a reader that died. The same id may be there more than once: copies are counted.
class JsonMailbox {
 public:
  /// Copies of messages, by key_of_message().
  using Copies = std::unordered_map<std::string, std::size_t>;

  /// The receiver must outlive it.
  JsonMailbox(std::string owner, Receiver& receiver) : owner_(std::move(owner)), receiver_(receiver) {}

  /// What was put back is not handed out any more: it is for a successor.
  void keep_put_back() { keeps_put_back_ = true; }
  /// What has come since the last time.
  void hand_out(const JsonDocument& document);
  /// Keys of what was found to be no message, and is to be removed; once.
  [[nodiscard]] std::vector<std::string> take_broken() { return std::exchange(broken_, {}); }

  /// What of these has been handed out and not been removed since.
  [[nodiscard]] Copies finished(const std::vector<std::string>& ids);
  /// false: there is no mailbox.
  [[nodiscard]] bool remove(JsonDocument& document, Copies messages) const;
  void forget(const Copies& removed);

  /// In front of all others.
  void put_back(JsonDocument& document, const std::vector<Message>& messages) const;
  /// Once that is written.
  void note_put_back(const std::vector<Message>& messages);
  /// Leaves nothing but what was put back.
  void empty(JsonDocument& document) const;

 private:
  std::string owner_;
  Receiver& receiver_;
  Copies handed_out_;
  std::unordered_map<std::string, std::string> keys_;  // of messages without an id, by the one made up
  std::vector<std::string> broken_;
  std::unordered_set<std::string> put_back_;  // keys of what was put back and not read again
  bool keeps_put_back_ = false;
};

}  // namespace ipcm::transport
