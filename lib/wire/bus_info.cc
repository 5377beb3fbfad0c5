#include <array>

#include "ipcm/bus.h"
#include "ipcm/error.h"
#include "wire/json_index.h"
#include "wire/json_text.h"

namespace ipcm {
namespace {

/// The reference writes class names; a leading + means: as it stands.
std::string short_name(std::string name, std::string_view prefix) {
  if (name.starts_with('+')) name.erase(0, 1);
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  return name;
}

}  // namespace

BusInfo BusInfo::parse(std::string_view text) {
  constexpr std::string_view kForm =
      R"(a bus is named by a JSON array of three strings, ["PROTOCOL","SERIALIZER","ROUTE"])";
  const wire::JsonIndex index(text, "bus info '" + std::string(text.substr(0, 200)) + "'");
  using Kind = wire::JsonIndex::Kind;
  std::array<std::string, 3> parts;
  const auto& root = index.node(0);
  if (root.kind != Kind::array || root.children != parts.size())
    throw ProtocolError(std::string(kForm) + ", found " + std::string(text.substr(0, 200)));
  std::size_t at = 1;
  for (std::string& part : parts) {
    const auto* node = &index.node(at);
    at = node->next;
    // The serializer may be [name, option, value, …]; none that we have takes options.
    if (node->kind == Kind::array && node->children == 1 && &part == &parts[1]) node = node + 1;
    if (node->kind != Kind::string)
      throw ProtocolError(std::string(kForm) + "; found " + wire::describe(node->kind) +
                          " in it: " + std::string(index.text(*node)));
    part = index.string(*node);
  }
  return {short_name(parts[0], "IPC::Manager::Client::"), short_name(parts[1], "IPC::Manager::Serializer::"),
          parts[2]};
}

std::string BusInfo::text() const {
  return "[" + wire::json_string(protocol) + "," + wire::json_string(serializer) + "," +
         wire::json_string(route) + "]";
}

}  // namespace ipcm
