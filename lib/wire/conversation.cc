#include "wire/conversation.h"

#include "ipcm/error.h"
#include "wire/json_text.h"
#include "wire/top_level.h"

namespace ipcm::wire {

Conversation understand(const Content& content) {
  if (content.json().empty() || content.json().front() != '{') return {};
  std::string request_id, response_id, error;
  Content request, response;
  bool terminate = false;
  try {
    for_each_member(
        content.json(), "content",
        [&](std::string_view key, MemberKind kind, std::string_view raw, std::string_view decoded) {
          const std::string_view plain = kind == MemberKind::string ? decoded : raw;
          if (key == "request") {
            request = Content::trusted_json(std::string(raw));
          } else if (key == "response") {
            response = Content::trusted_json(std::string(raw));
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
  if (!request_id.empty()) return {Meaning::request, std::move(request_id), std::move(request), {}};
  if (!response_id.empty())
    return {Meaning::response, std::move(response_id), std::move(response), std::move(error)};
  return {terminate ? Meaning::terminate : Meaning::general, {}, {}, {}};
}

Content request_content(const std::string& id, const Content& request) {
  return Content::trusted_json(R"({"ipcm_request_id":)" + json_string(id) + R"(,"request":)" +
                               request.json() + "}");
}

Content response_content(const std::string& id, const Content& response) {
  return Content::trusted_json(R"({"ipcm_response_id":)" + json_string(id) + R"(,"response":)" +
                               response.json() + "}");
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
