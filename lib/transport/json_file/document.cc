#include "transport/json_file/document.h"

#include <algorithm>

#include "ipcm/error.h"
#include "wire/json_index.h"
#include "wire/json_text.h"
#include "wire/number.h"
#include "wire/top_level.h"

namespace ipcm::transport {
namespace {

using wire::MemberKind;
using Members = std::map<std::string, std::string>;

Members members_of(std::string_view object, std::string_view what) {
  Members all;
  wire::for_each_member(object, what,
                        [&](std::string_view key, MemberKind, std::string_view raw, std::string_view) {
                          return all.try_emplace(std::string(key), raw).second;
                        });
  return all;
}

void append_members(std::string& into, const Members& members) {
  into.push_back('{');
  for (const auto& [key, raw] : members) {
    if (into.back() != '{') into.push_back(',');
    wire::append_json_string(into, key, wire::BrokenUtf8::replaced);
    into.append(":").append(raw);
  }
  into.push_back('}');
}

}  // namespace

JsonDocument JsonDocument::parse(std::string_view text) {
  JsonDocument document;
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return document;
  document.others = members_of(text, "the file of the bus");
  document.has_just_ours = document.others.size() == 3;
  const auto take = [&](const char* key, Members& into) {
    const auto found = document.others.find(key);
    if (found == document.others.end()) {
      document.has_just_ours = false;
      return;
    }
    if (found->second != "null") into = members_of(found->second, std::string("'") + key + "'");
    document.others.erase(found);
  };
  take("clients", document.clients);
  take("messages", document.messages);
  take("stats", document.stats);
  return document;
}

bool JsonDocument::is_that_of_a_bus() const {
  return has_just_ours && std::all_of(clients.begin(), clients.end(), [](const auto& client) {
           return client.second.starts_with('{') && client.second.find("\"pid\"") != std::string::npos;
         });
}

std::string JsonDocument::text() const {
  std::string text = R"({"clients":)";
  append_members(text, clients);
  text.append(R"(,"messages":)");
  append_members(text, messages);
  text.append(R"(,"stats":)");
  append_members(text, stats);
  for (const auto& [key, raw] : others) {
    text.push_back(',');
    wire::append_json_string(text, key, wire::BrokenUtf8::replaced);
    text.append(":").append(raw);
  }
  text.push_back('}');
  return text;
}

JsonClient JsonClient::parse(std::string_view object) {
  JsonClient client;
  try {
    wire::for_each_member(
        object, "a client",
        [&](std::string_view key, MemberKind kind, std::string_view raw, std::string_view decoded) {
          const std::string_view plain = kind == MemberKind::string ? decoded : raw;
          if (key == "pid") client.pid = wire::number_from<Pid>(plain);
          if (key == "suspend_expires_at") client.suspend_expires_at = wire::number_from<double>(plain);
          if (key == "since") client.since = wire::number_from<double>(plain);
          return true;
        });
  } catch (const ProtocolError&) {
    return {};  // malformed: treated as absent
  }
  if (client.pid && *client.pid <= 0) client.pid.reset();
  return client;
}

std::string JsonClient::text() const {
  std::string text = R"({"pid":)" + (pid ? std::to_string(*pid) : "null");
  if (suspend_expires_at)
    text.append(R"(,"suspend_expires_at":)").append(wire::fixed_number(*suspend_expires_at));
  if (since) text.append(R"(,"since":)").append(wire::fixed_number(*since));
  return text + "}";
}

std::vector<std::string_view> elements_of(std::string_view array) {
  std::vector<std::string_view> elements;
  const wire::JsonIndex index(array, "the messages of a client");
  const auto& root = index.node(0);
  if (root.kind != wire::JsonIndex::Kind::array) return elements;
  std::size_t at = 1;
  for (std::size_t i = 0; i < root.children; ++i) {
    const auto& node = index.node(at);
    elements.push_back(index.text(node));
    at = node.next;
  }
  return elements;
}

std::string array_of(const std::vector<std::string_view>& elements) {
  std::string text = "[";
  for (const std::string_view element : elements) {
    if (text.size() > 1) text.push_back(',');
    text.append(element);
  }
  return text + "]";
}

void append_element(std::string& array, std::string_view element) {
  const auto last = array.find_last_not_of(" \t\r\n");
  if (last == std::string::npos || array[last] != ']') {  // null, or something else that holds no messages
    array = array_of({element});
    return;
  }
  array.resize(last);
  const auto before = array.find_last_not_of(" \t\r\n");
  if (before != std::string::npos && array[before] != '[') array.push_back(',');
  array.append(element).push_back(']');
}

std::string key_of_message(std::string_view object) {
  std::string id;
  try {
    wire::for_each_member(
        object, "a message",
        [&](std::string_view key, MemberKind kind, std::string_view raw, std::string_view decoded) {
          if (key == "id" && kind != MemberKind::null && kind != MemberKind::nested)
            id = kind == MemberKind::string ? decoded : raw;
          return true;
        });
  } catch (const ProtocolError&) {
    id.clear();
  }
  return id.empty() ? std::string(object) : id;
}

}  // namespace ipcm::transport
