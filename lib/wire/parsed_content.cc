#include "wire/parsed_content.h"

#include "ipcm/error.h"
#include "os/memory.h"
#include "wire/appender.h"
#include "wire/json_check.h"
#include "wire/json_text.h"
#include "wire/own_text.h"
#include "wire/top_level.h"

namespace ipcm::wire {

namespace {

/// The parsed content, and its payload as a part of the text.
struct Understood {
  ParsedContent parsed;
  std::string_view payload;
};

}  // namespace

bool is_payload(std::string_view text) noexcept {
  constexpr std::size_t kAround = 2;  // the levels of the content and of the message
  return !text.empty() && text.front() > ' ' && text.back() > ' ' && is_ascii_json(text, kDeepest - kAround);
}

std::optional<ParsedContent> parse_own_content(std::string_view before, Body& payload,
                                               std::string_view after) {
  std::string around;
  around.reserve(before.size() + kPayloadStandIn.size() + after.size());
  std::optional<ParsedContent> parsed;
  if (!parse_own_content(around.append(before).append(kPayloadStandIn).append(after), parsed) ||
      parsed->payload.json() != kPayloadStandIn || !is_payload(payload))
    return std::nullopt;
  parsed->payload = Content::trusted_json(std::move(payload.bytes));
  return parsed;
}

Message IncomingMessage::whole() && {
  if (!parsed || !message.content.is_null()) return std::move(message);
  if (parsed->meaning == Meaning::request) {
    std::string begin = parsed->inspects ? inspection_begin(parsed->id) : request_begin(parsed->id);
    message.content = wrap_payload(begin, parsed->payload).content();
  } else if (parsed->meaning == Meaning::response) {
    message.content = parsed->error.empty() ? response_content(parsed->id, parsed->payload)
                                            : error_content(parsed->id, parsed->error);
  }
  return std::move(message);
}

bool parse_own_content(std::string_view content, std::optional<ParsedContent>& parsed) {
  const bool is_request = take(content, R"({"ipcm_request_id":")");
  if (!is_request && !take(content, R"({"ipcm_response_id":")")) return false;
  std::string_view id;
  if (!take_plain(content, id) || id.empty() || id == "0") return false;
  if (!(is_request ? take(content, R"(,"request":)") : take(content, R"(,"response":)"))) return false;
  if (!content.ends_with('}')) return false;
  content.remove_suffix(1);
  if (!is_payload(content)) return false;  // not one ASCII value, or another member follows
  ParsedContent& read = parsed.emplace();
  read.meaning = is_request ? Meaning::request : Meaning::response;
  read.id = id;
  read.payload = Content::trusted_json(os::copy_of(content));
  return true;
}

namespace {

Understood classify_text(std::string_view text) {
  if (text.empty() || text.front() != '{') return {};
  std::string request_id, response_id, error;
  std::string_view request, response;
  bool terminate = false, inspects = false;
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
          } else if (key == "ipcm_inspect") {
            inspects = true;
          } else if (key == "terminate") {
            terminate = true;
          }
          return true;
        });
  } catch (const ProtocolError&) {
    return {};
  }
  if (!request_id.empty()) return {{Meaning::request, std::move(request_id), {}, {}, inspects}, request};
  if (!response_id.empty())
    return {{Meaning::response, std::move(response_id), {}, std::move(error)}, response};
  return {{terminate ? Meaning::terminate : Meaning::general, {}, {}, {}}, {}};
}

}  // namespace

std::optional<ParsedContent> parse_around_bytes(std::string_view around) {
  std::optional<ParsedContent> own;
  if (parse_own_content(around, own)) return own->payload.is_null() ? std::move(own) : std::nullopt;
  if (!is_ascii_json(around)) return std::nullopt;
  auto [parsed, payload] = classify_text(around);
  const bool has_payload = parsed.meaning == Meaning::request || parsed.meaning == Meaning::response;
  if (!has_payload || !parsed.error.empty() || payload != "null") return std::nullopt;
  return std::move(parsed);
}

ParsedContent classify(const Content& content) {
  if (content.is_bytes()) {
    auto parsed = parse_around_bytes(content.around_bytes());
    if (!parsed) return {};
    parsed->payload = Content::bytes(os::copy_of(content.as_bytes()));
    return std::move(*parsed);
  }
  auto [parsed, payload] = classify_text(content.json());
  if (!payload.empty()) parsed.payload = Content::trusted_json(std::string(payload));
  return std::move(parsed);
}

ParsedContent parse_in_place(Content& content, bool requests) {
  if (content.is_bytes()) {
    auto parsed = parse_around_bytes(content.around_bytes());
    if (!parsed) return {};
    if (parsed->meaning == Meaning::response || requests)
      parsed->payload = Content::bytes(std::move(content).take_bytes());
    return std::move(*parsed);
  }
  auto [parsed, payload] = classify_text(content.json());
  if (parsed.meaning != Meaning::response && !(requests && parsed.meaning == Meaning::request))
    return std::move(parsed);
  if (payload.empty()) return content = Content(), std::move(parsed);
  // Erases the text around the payload in place: a copy of a large payload would cost more than all the rest.
  const auto begin = static_cast<std::size_t>(payload.data() - content.json().data());
  const std::size_t size = payload.size();
  std::string text = std::move(content).take_json();
  text.resize(begin + size);
  text.erase(0, begin);
  parsed.payload = Content::trusted_json(std::move(text));
  return std::move(parsed);
}

namespace {

std::string conversation_begin(std::string_view id_key, const std::string& id, std::string_view payload_key) {
  constexpr std::size_t kQuotes = 2;
  std::string begin;
  {
    Appender text(begin, id_key.size() + id.size() + kQuotes + payload_key.size());
    text.text(id_key);
    text.json_string(id);
    text.text(payload_key);
  }
  return begin;
}

}  // namespace

std::string request_begin(const std::string& id) {
  return conversation_begin(R"({"ipcm_request_id":)", id, R"(,"request":)");
}

std::string response_begin(const std::string& id) {
  return conversation_begin(R"({"ipcm_response_id":)", id, R"(,"response":)");
}

std::string inspection_begin(const std::string& id) {
  return conversation_begin(R"({"ipcm_request_id":)", id, R"(,"ipcm_inspect":1,"request":)");
}

ContentSlices wrap_payload(std::string& begin, const Content& payload) {
  if (!payload.is_bytes()) return {begin, payload.json(), kWrapperEnd};
  begin.append("null").append(kWrapperEnd);
  return {begin, payload.as_bytes(), {}, true};
}

Content request_content(const std::string& id, const Content& request) {
  std::string begin = request_begin(id);
  return wrap_payload(begin, request).content();
}

Content response_content(const std::string& id, const Content& response) {
  std::string begin = response_begin(id);
  return wrap_payload(begin, response).content();
}

Content error_content(const std::string& id, const std::string& given) {
  // Perl treats these two texts as false, and would take the response for an answer without an error.
  const std::string text = given.empty() || given == "0" ? "error '" + given + "'" : given;
  return Content::trusted_json(R"({"ipcm_response_id":)" + json_string(id) +
                               R"(,"response":null,"ipcm_error":)" + json_string(text, BrokenUtf8::replaced) +
                               "}");
}

Content terminate_content() { return Content::trusted_json(R"({"terminate":1})"); }

}  // namespace ipcm::wire
