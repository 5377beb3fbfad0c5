#include "command/jsonrpc/greeting.h"

#include "command/jsonrpc/member.h"
#include "ipcm/error.h"
#include "wire/nearest.h"
#include "wire/printable.h"
#include "wire/top_level.h"

namespace ipcm::command::jsonrpc {

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

}  // namespace ipcm::command::jsonrpc
