#include "command/jsonrpc/incoming.h"

#include <utility>

#include "command/jsonrpc/member.h"
#include "command/jsonrpc/messages.h"
#include "ipcm/error.h"
#include "wire/json_scan.h"
#include "wire/number.h"
#include "wire/top_level.h"

namespace ipcm::command::jsonrpc {
namespace {

class Split {
 public:
  explicit Split(std::string_view text) : text_(text) {}
  bool scalar(wire::ScalarKind, std::size_t begin, std::size_t end, std::string_view) {
    return is_array_ ? add(begin, end) : is_open_;
  }
  bool open(bool is_object, std::size_t begin) {
    begin_ = begin;
    is_array_ = !is_object;
    return is_open_ = true;
  }
  bool close(std::size_t end) { return is_array_ || add(begin_, end); }
  bool nested(std::size_t begin, std::size_t end) { return !is_array_ || add(begin, end); }
  static bool key(std::string_view) { return true; }
  [[nodiscard]] static std::string failure() { return "an object or an array is expected"; }
  [[nodiscard]] std::vector<std::string_view> take() { return std::move(parts_); }

 private:
  bool add(std::size_t begin, std::size_t end) {
    parts_.push_back(text_.substr(begin, end - begin));
    return true;
  }

  std::string_view text_;
  std::vector<std::string_view> parts_;
  std::size_t begin_ = 0;
  bool is_open_ = false, is_array_ = false;
};

}  // namespace

std::vector<std::string_view> members_of(std::string_view text) {
  Split split(text);
  wire::scan_json(text, "it", split, wire::kDeepestContent);
  return split.take();
}

Incoming read_incoming(std::string_view text) {
  Incoming incoming;
  incoming.text = text;
  if (!text.starts_with('{')) {
    incoming.why = "it is no object";
    return incoming;
  }
  Member id, method, params, result, error;
  try {
    wire::for_each_member(text, "it", [&](const auto& key, auto kind, auto raw, auto decoded) {
      Member* member = key == "id"       ? &id
                       : key == "method" ? &method
                       : key == "params" ? &params
                       : key == "result" ? &result
                       : key == "error"  ? &error
                                         : nullptr;
      return member == nullptr || member->set(kind, raw, decoded);
    });
  } catch (const ProtocolError& failure) {
    incoming.why = failure.what();
    return incoming;
  }
  using Kind = Incoming::Kind;
  const bool is_number = id.kind == wire::MemberKind::other && id.raw != "true" && id.raw != "false";
  if (id.is_there && (is_number || id.is_text())) incoming.id = id.raw;
  incoming.number = wire::number_from<std::uint64_t>(incoming.id);
  incoming.method = method.decoded;
  incoming.quoted = method.raw;
  incoming.params = params.raw;
  if (method.is_there) {
    if (!method.is_text() || method.decoded.size() > kLongestMethod)
      incoming.why = "its method is no string, or a very long one";
    else if (id.is_there && incoming.id.empty())
      incoming.why = "its id is no string and no number";
    else if (params.is_there && params.kind != wire::MemberKind::nested && !params.is_null())
      incoming.why = "its params are no object and no array";
    else
      incoming.kind = id.is_there ? Kind::request : Kind::notification;
  } else if (error.is_there && !error.is_null()) {
    incoming.kind = Kind::error;
    incoming.payload = error.raw;
  } else if (result.is_there) {
    incoming.kind = Kind::result;
    incoming.payload = result.raw;
  } else {
    incoming.why = "it has no method, no result and no error";
  }
  return incoming;
}

Content call_content(const Incoming& incoming) {
  std::string text = R"({"method":)";
  text.append(incoming.quoted);
  if (!incoming.params.empty()) text.append(R"(,"params":)").append(incoming.params);
  return content_of(text.append("}"));
}

}  // namespace ipcm::command::jsonrpc
