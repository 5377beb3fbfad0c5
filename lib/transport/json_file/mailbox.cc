#include "transport/json_file/mailbox.h"

#include <utility>

#include "ipcm/error.h"
#include "wire/envelope.h"

namespace ipcm::transport {

void JsonMailbox::hand_out(const JsonDocument& document) {
  const auto mailbox = document.messages.find(owner_);
  if (mailbox == document.messages.end()) return;
  Copies seen;
  std::vector<Message> fresh;
  for (const std::string_view element : elements_of(mailbox->second)) {
    const std::string key = key_of_message(element);
    if (++seen[key] <= handed_out_[key]) continue;
    if (keeps_put_back_ && put_back_.contains(key)) continue;
    put_back_.erase(key);
    ++handed_out_[key];
    try {
      Message message = wire::read_envelope(element, owner_);
      if (message.id != key) keys_[message.id] = key;
      fresh.push_back(std::move(message));
    } catch (const ProtocolError& error) {
      broken_.push_back(key);
      receiver_.dropped(std::string("a message was dropped: ") + error.what());
    }
  }
  for (Message& message : fresh) receiver_.received(std::move(message));
}

JsonMailbox::Copies JsonMailbox::finished(const std::vector<std::string>& ids) {
  Copies done;
  for (const std::string& id : ids) {
    std::string key = id;
    if (const auto made_up = keys_.find(id); made_up != keys_.end()) {
      key = std::move(made_up->second);
      keys_.erase(made_up);
    }
    const auto out = handed_out_.find(key);
    if (out != handed_out_.end() && out->second > done[key]) ++done[key];
  }
  std::erase_if(done, [](const auto& entry) { return entry.second == 0; });
  return done;
}

bool JsonMailbox::remove(JsonDocument& document, Copies messages) const {
  const auto mailbox = document.messages.find(owner_);
  if (mailbox == document.messages.end()) return false;
  std::vector<std::string_view> rest;
  for (const std::string_view element : elements_of(mailbox->second)) {
    const std::string key = key_of_message(element);
    if (const auto count = messages.find(key); count != messages.end() && count->second > 0)
      --count->second;
    else
      rest.push_back(element);
  }
  std::string text = array_of(rest);
  mailbox->second = std::move(text);
  return true;
}

void JsonMailbox::forget(const Copies& removed) {
  for (const auto& [key, count] : removed)
    if ((handed_out_[key] -= count) == 0) handed_out_.erase(key);
}

void JsonMailbox::put_back(JsonDocument& document, const std::vector<Message>& messages) const {
  std::string& mailbox = document.messages.try_emplace(owner_, "[]").first->second;
  const std::string before = mailbox;
  mailbox = "[]";
  for (const Message& message : messages) append_element(mailbox, wire::write_envelope(message));
  for (const std::string_view element : elements_of(before)) append_element(mailbox, element);
}

void JsonMailbox::note_put_back(const std::vector<Message>& messages) {
  for (const Message& message : messages) put_back_.insert(message.id);
}

void JsonMailbox::empty(JsonDocument& document) const {
  const auto mailbox = document.messages.find(owner_);
  if (mailbox == document.messages.end()) return;
  std::vector<std::string_view> kept;
  for (const std::string_view element : elements_of(mailbox->second))
    if (put_back_.contains(key_of_message(element))) kept.push_back(element);
  if (kept.empty()) {
    document.messages.erase(mailbox);
    return;
  }
  std::string text = array_of(kept);
  mailbox->second = std::move(text);
}

}  // namespace ipcm::transport
