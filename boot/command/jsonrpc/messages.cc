#include "command/jsonrpc/messages.h"

#include <utility>

#include "ipcm/error.h"
#include "wire/json_scan.h"
#include "wire/json_text.h"
#include "wire/nearest.h"
#include "wire/number.h"
#include "wire/printable.h"
#include "wire/top_level.h"
#include "wire/utf8.h"

namespace ipcm::command::jsonrpc {
namespace {

constexpr std::size_t kLongestMethod = 1000;

/// One member of an object, whose text it is a slice of.
struct Member {
  bool is_there = false;
  wire::MemberKind kind = wire::MemberKind::null;
  std::string_view raw;
  std::string decoded;

  /// Returns false if it is there already.
  bool set(wire::MemberKind with_kind, std::string_view text, std::string_view characters) {
    if (std::exchange(is_there, true)) return false;
    kind = with_kind;
    raw = text;
    if (kind == wire::MemberKind::string) decoded = characters;
    return true;
  }
  [[nodiscard]] bool is_text() const { return is_there && kind == wire::MemberKind::string; }
  [[nodiscard]] bool is_null() const { return is_there && kind == wire::MemberKind::null; }
};

[[noreturn]] void refuse(const std::string& why) {
  throw UsageError(
      why + R"(; a request is {"method":"NAME","params":…}, {"subscribe":"NAME"} or {"unsubscribe":"NAME"})");
}

void expect_name(const std::string& key, const Member& member) {
  if (!member.is_text() || member.decoded.empty() || member.decoded.size() > kLongestMethod)
    refuse("'" + key + "' wants the name of a method, a string of 1 to " + std::to_string(kLongestMethod) +
           " bytes");
}

/// The standard has objects and arrays only; null stands for none.
std::string_view params_of(const Member& params) {
  if (!params.is_there || params.is_null()) return {};
  if (params.kind != wire::MemberKind::nested) refuse("'params' wants an object or an array");
  return params.raw;
}

std::string_view text_of(const Content& content) {
  if (content.is_bytes()) refuse("it is bytes");
  if (!content.json().starts_with('{')) refuse("it is no object");
  return content.json();
}

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

// ---- What peers of the bus ask for

Wish read_wish(const Content& content) {
  const std::string_view text = text_of(content);
  Member method, params, subscribe, unsubscribe, answers;
  wire::for_each_member(text, "the request", [&](const auto& key, auto kind, auto raw, auto decoded) {
    Member* member = key == "method"        ? &method
                     : key == "params"      ? &params
                     : key == "subscribe"   ? &subscribe
                     : key == "unsubscribe" ? &unsubscribe
                     : key == "answers"     ? &answers
                                            : nullptr;
    if (member == nullptr) {
      const std::string name(key);
      const bool is_ours = name == "id" || name == "jsonrpc";
      refuse("it has the unknown key '" + wire::printable_name(name) + "'" +
             (is_ours
                  ? " (the service adds it)"
                  : wire::did_you_mean(name, {"method", "params", "subscribe", "unsubscribe", "answers"})));
    }
    return member->set(kind, raw, decoded);
  });
  if (int{method.is_there} + int{subscribe.is_there} + int{unsubscribe.is_there} != 1)
    refuse("it needs exactly one of the keys 'method', 'subscribe' and 'unsubscribe'");
  if (params.is_there && !method.is_there) refuse("'params' goes with 'method' only");
  if (answers.is_there && !subscribe.is_there) refuse("'answers' goes with 'subscribe' only");
  Wish wish;
  if (method.is_there) {
    expect_name("method", method);
    wish = {Wish::Kind::call, method.decoded, method.raw, params_of(params)};
  } else if (subscribe.is_there) {
    expect_name("subscribe", subscribe);
    if (answers.is_there && answers.raw != "true" && answers.raw != "false")
      refuse("'answers' wants true or false");
    wish = {Wish::Kind::subscribe, subscribe.decoded, {}, {}, answers.raw == "true"};
  } else {
    expect_name("unsubscribe", unsubscribe);
    wish = {Wish::Kind::unsubscribe, unsubscribe.decoded, {}, {}};
  }
  return wish;
}

Greeting read_greeting(const Content& content) {
  const auto reject = [](const std::string& why) {
    throw UsageError(why +
                     R"(; an entry is {"method":"NAME","params":…}, with an "id" if it expects a result)");
  };
  if (!content.json().starts_with('{')) reject("it is no object");
  Member method, params, id, version;
  wire::for_each_member(content.json(), "it", [&](const auto& key, auto kind, auto raw, auto decoded) {
    Member* member = key == "method"    ? &method
                     : key == "params"  ? &params
                     : key == "id"      ? &id
                     : key == "jsonrpc" ? &version
                                        : nullptr;
    if (member == nullptr)
      reject("it has the unknown key '" + wire::printable_name(key) + "'" +
             wire::did_you_mean(key, {"method", "params", "id", "jsonrpc"}));
    return member->set(kind, raw, decoded);
  });
  if (!method.is_text() || method.decoded.empty() || method.decoded.size() > kLongestMethod)
    reject("it has no method with the name of one");
  if (params.is_there && !params.is_null() && params.kind != wire::MemberKind::nested)
    reject("its params are no object and no array");
  return {method.decoded, std::string(method.raw), params.is_null() ? std::string() : std::string(params.raw),
          id.is_there};
}

// ---- Messages to the program

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

// ---- Messages from the program

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

Content content_of(std::string_view json) {
  return Content::trusted_json(wire::is_ascii(json) ? std::string(json) : wire::to_ascii(json));
}

Content call_content(const Incoming& incoming) {
  std::string text = R"({"method":)";
  text.append(incoming.quoted);
  if (!incoming.params.empty()) text.append(R"(,"params":)").append(incoming.params);
  return content_of(text.append("}"));
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
