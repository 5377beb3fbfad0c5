#include "bridge/bridge_line.h"

#include <algorithm>

#include "bridge/base64.h"
#include "wire/json_text.h"

namespace ipcm::launcher {

BridgeLine BridgeLine::of(const Message& message) {
  BridgeLine line("message");
  line.text("message", message.id).text("from", message.from);
  if (message.broadcast) line.json("broadcast", "true");
  line.content(message.content);
  return line;
}

BridgeLine& BridgeLine::json(std::string_view key, std::string_view json) {
  text_.append(",\"").append(key).append("\":").append(json);
  return *this;
}

BridgeLine& BridgeLine::text(std::string_view key, std::string_view text) {
  return json(key, wire::json_string(text, wire::BrokenUtf8::replaced));
}

BridgeLine& BridgeLine::names(std::string_view key, const std::vector<std::string>& names) {
  std::string list = "[";
  for (const std::string& name : names) {
    if (list.size() > 1) list.push_back(',');
    wire::append_json_string(list, name, wire::BrokenUtf8::replaced);
  }
  return json(key, list + "]");
}

BridgeLine& BridgeLine::content(const Content& content) {
  if (content.is_bytes()) return json("bytes", '"' + to_base64(content.as_bytes()) + '"');
  return value("content", content);
}

BridgeLine& BridgeLine::value(std::string_view key, const Content& value) {
  const std::size_t before = text_.size();
  json(key, value.json());
  // Inside strings JSON has no newline.
  std::replace(text_.begin() + static_cast<std::ptrdiff_t>(before), text_.end(), '\n', ' ');
  return *this;
}

}  // namespace ipcm::launcher
