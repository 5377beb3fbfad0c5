#include <algorithm>
#include <array>

#include "ipcm/bus_info.h"
#include "ipcm/error.h"
#include "wire/json_index.h"
#include "wire/json_text.h"

namespace ipcm {
namespace {

/// The reference writes class names; a leading + means that the rest is the full name.
std::string short_name(std::string name, std::string_view prefix) {
  if (name.starts_with('+')) name.erase(0, 1);
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  return name;
}

/// The given text, for an error. A URL is not shown, since it may hold a password.
std::string shown(std::string_view text) {
  constexpr std::size_t kLongest = 200;
  return text.find("://") == text.npos ? std::string(text.substr(0, kLongest)) : "a URL";
}

}  // namespace

BusInfo BusInfo::parse(std::string_view text) {
  constexpr std::string_view kForm =
      R"(a bus is named by a JSON array of three strings, ["PROTOCOL","SERIALIZER","ROUTE"])";
  const wire::JsonIndex index(text, "bus info '" + shown(text) + "'");
  using Kind = wire::JsonIndex::Kind;
  std::array<std::string, 3> parts;
  std::map<std::string, std::string> options;
  const auto& root = index.node(0);
  if (root.kind != Kind::array || root.children != parts.size())
    throw ProtocolError(std::string(kForm) + ", found " + shown(text));
  std::size_t at = 1;
  for (std::string& part : parts) {
    const auto* node = &index.node(at);
    at = node->next;
    // The serializer may be [name, option, value, …].
    if (node->kind == Kind::array && node->children % 2 == 1 && &part == &parts[1]) {
      const std::size_t end = node->next;
      node = node + 1;
      for (std::size_t key = node->next, value = 0; key < end; key = index.node(value).next) {
        value = index.node(key).next;
        const auto& given = index.node(value);
        if (index.node(key).kind != Kind::string || given.kind == Kind::array || given.kind == Kind::object)
          throw ProtocolError(std::string(kForm) +
                              "; the serializer's options have to be names and plain values");
        options[std::string(index.string(index.node(key)))] =
            given.kind == Kind::string ? std::string(index.string(given)) : std::string(index.text(given));
      }
    }
    if (node->kind != Kind::string)
      throw ProtocolError(std::string(kForm) + "; found " + wire::describe(node->kind) +
                          " in it: " + shown(index.text(*node)));
    part = index.string(*node);
  }
  return {short_name(parts[0], "IPC::Manager::Client::"),
          short_name(parts[1], "IPC::Manager::Serializer::"),
          parts[2],
          std::move(options),
          {}};
}

std::string BusInfo::text() const {
  std::string with_options = wire::json_string(serializer);
  if (!serializer_options.empty()) {
    with_options.insert(0, "[");
    for (const auto& [option, value] : serializer_options) {
      const bool is_number =
          !value.empty() && value.size() < 10 && (value == "0" || value.front() != '0') &&
          std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
      with_options.append(",")
          .append(wire::json_string(option))
          .append(",")
          .append(is_number ? value : wire::json_string(value));
    }
    with_options.append("]");
  }
  return "[" + wire::json_string(protocol) + "," + with_options + "," + wire::json_string(route) + "]";
}

}  // namespace ipcm
