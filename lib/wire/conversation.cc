#include "wire/conversation.h"

#include "ipcm/error.h"
#include "wire/json_check.h"
#include "wire/json_text.h"
#include "wire/top_level.h"

namespace ipcm::wire {

namespace {

/// Where the payload is in the text of the content.
struct Understood {
  Conversation said;
  std::string_view payload;
};

/// A request or an answer as we write it: most are. `begin`: up to the id.
bool understand_own(std::string_view text, std::string_view begin, std::string_view middle,
                    Understood& understood) {
  if (!text.starts_with(begin) || !text.ends_with('}')) return false;
  text.remove_prefix(begin.size());
  text.remove_suffix(1);
  const char* const end = skip_plain(text.data(), text.data() + text.size());
  const auto size = static_cast<std::size_t>(end - text.data());
  const std::string_view id = text.substr(0, size);
  text.remove_prefix(size);
  if (!text.starts_with(middle) || id.empty() || id == "0") return false;
  text.remove_prefix(middle.size());
  // One value, and no member after it.
  if (text.empty() || text.front() <= ' ' || text.back() <= ' ' || !is_ascii_json(text, kDeepest - 1))
    return false;
  understood.said.id = id;
  understood.payload = text;
  return true;
}

Understood understand_text(std::string_view text) {
  if (text.empty() || text.front() != '{') return {};
  Understood own;
  if (understand_own(text, R"({"ipcm_request_id":")", R"(","request":)", own))
    return own.said.meaning = Meaning::request, own;
  if (understand_own(text, R"({"ipcm_response_id":")", R"(","response":)", own))
    return own.said.meaning = Meaning::response, own;
  std::string request_id, response_id, error;
  std::string_view request, response;
  bool terminate = false;
  try {
    for_each_member(
        text, "content",
        [&](std::string_view key, MemberKind kind, std::string_view raw, std::string_view decoded) {
          const std::string_view plain = kind == MemberKind::string ? decoded : raw;
          if (key == "request") {
            request = raw;
          } else if (key == "response") {
            response = raw;
          } else if (!is_truthy(kind, raw, decoded)) {
            return true;
          } else if (key == "ipcm_request_id") {
            request_id = plain;
          } else if (key == "ipcm_response_id") {
            response_id = plain;
          } else if (key == "ipcm_error") {
            error = plain;
          } else if (key == "terminate") {
            terminate = true;
          }
          return true;
        });
  } catch (const ProtocolError&) {
    return {};
  }
  if (!request_id.empty()) return {{Meaning::request, std::move(request_id), {}, {}}, request};
  if (!response_id.empty())
    return {{Meaning::response, std::move(response_id), {}, std::move(error)}, response};
  return {{terminate ? Meaning::terminate : Meaning::general, {}, {}, {}}, {}};
}

}  // namespace

Conversation understand(const Content& content) {
  auto [said, payload] = understand_text(content.json());
  if (!payload.empty()) said.payload = Content::trusted_json(std::string(payload));
  return std::move(said);
}

Conversation take_apart(Content& content, bool requests) {
  auto [said, payload] = understand_text(content.json());
  if (said.meaning != Meaning::response && !(requests && said.meaning == Meaning::request))
    return std::move(said);
  if (payload.empty()) return content = Content(), std::move(said);
  // Cut to size where it is: another copy of a large one would cost more than all the rest.
  const auto begin = static_cast<std::size_t>(payload.data() - content.json().data());
  const std::size_t size = payload.size();
  std::string text = std::move(content).take_json();
  text.resize(begin + size);
  text.erase(0, begin);
  said.payload = Content::trusted_json(std::move(text));
  return std::move(said);
}

std::string request_begin(const std::string& id) {
  std::string text = R"({"ipcm_request_id":)";
  append_json_string(text, id);
  return std::move(text.append(R"(,"request":)"));
}

std::string response_begin(const std::string& id) {
  std::string text = R"({"ipcm_response_id":)";
  append_json_string(text, id);
  return std::move(text.append(R"(,"response":)"));
}

Content request_content(const std::string& id, const Content& request) {
  return Content::trusted_json(request_begin(id).append(request.json()).append(kConversationEnd));
}

Content response_content(const std::string& id, const Content& response) {
  return Content::trusted_json(response_begin(id).append(response.json()).append(kConversationEnd));
}

Content error_content(const std::string& id, const std::string& given) {
  // An error that Perl takes for false would pass for an answer.
  const std::string text = given.empty() || given == "0" ? "error '" + given + "'" : given;
  return Content::trusted_json(R"({"ipcm_response_id":)" + json_string(id) +
                               R"(,"response":null,"ipcm_error":)" + json_string(text, BrokenUtf8::replaced) +
                               "}");
}

Content terminate_content() { return Content::trusted_json(R"({"terminate":1})"); }

}  // namespace ipcm::wire
