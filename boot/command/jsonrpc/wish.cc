#include "command/jsonrpc/wish.h"

#include "command/jsonrpc/member.h"
#include "ipcm/error.h"
#include "wire/nearest.h"
#include "wire/printable.h"
#include "wire/top_level.h"

namespace ipcm::command::jsonrpc {
namespace {

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

}  // namespace

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

}  // namespace ipcm::command::jsonrpc
