#include "command/jsonrpc/messages.h"

#include "command/jsonrpc/member.h"
#include "ipcm/error.h"
#include "wire/json_text.h"
#include "wire/number.h"
#include "wire/utf8.h"

namespace ipcm::command::jsonrpc {

std::string call_text(std::optional<std::uint64_t> id, std::string_view quoted, std::string_view params) {
  std::string text = R"({"jsonrpc":"2.0")";
  text.reserve(text.size() + quoted.size() + params.size() + 64);
  if (id) text.append(R"(,"id":)").append(std::to_string(*id));
  text.append(R"(,"method":)").append(quoted);
  if (!params.empty()) text.append(R"(,"params":)").append(params);
  return text.append("}");
}

std::string result_text(std::string_view id, std::string_view result) {
  std::string text = R"({"jsonrpc":"2.0","id":)";
  return text.append(id).append(R"(,"result":)").append(result).append("}");
}

std::string error_text(std::string_view id, std::string_view error) {
  std::string text = R"({"jsonrpc":"2.0","id":)";
  return text.append(id).append(R"(,"error":)").append(error).append("}");
}

std::string error_object(int code, std::string_view message) {
  return R"({"code":)" + std::to_string(code) + R"(,"message":)" +
         wire::json_string(message, wire::BrokenUtf8::replaced) + "}";
}

Content content_of(std::string_view json) {
  return Content::trusted_json(wire::is_ascii(json) ? std::string(json) : wire::to_ascii(json));
}

std::string error_from_peer(const std::string& text) {
  try {
    Member code, message;
    wire::for_each_member(text, "it", [&](const auto& key, auto kind, auto raw, auto decoded) {
      Member* member = key == "code" ? &code : key == "message" ? &message : nullptr;
      return member == nullptr || member->set(kind, raw, decoded);
    });
    if (wire::number_from<int>(code.raw) && message.is_text()) return content_of(text).take_json();
  } catch (const ProtocolError&) {
    // A sentence.
  }
  return error_object(kServerError, text);
}

}  // namespace ipcm::command::jsonrpc
