#include "wire/json_index.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "wire/json_scan.h"
#include "wire/printable.h"

namespace ipcm::wire {
namespace {

using Kind = JsonIndex::Kind;
using Node = JsonIndex::Node;

std::uint32_t narrow(std::size_t number) { return static_cast<std::uint32_t>(number); }

struct Builder {
  std::string_view text;
  std::vector<Node>& nodes;
  std::string& names;
  std::vector<std::uint32_t> open_nodes;
  std::uint32_t key_at = 0, key_size = 0;

  static Kind kind_of(ScalarKind kind) {
    switch (kind) {
      case ScalarKind::null:
        return Kind::null;
      case ScalarKind::boolean:
        return Kind::boolean;
      case ScalarKind::number:
        return Kind::number;
      case ScalarKind::string:
        return Kind::string;
    }
    return Kind::null;
  }

  /// Returns its position in the text, or beyond the text's end among the names.
  std::uint32_t keep(std::string_view decoded) {
    const std::less<> is_before;
    if (!is_before(decoded.data(), text.data()) && is_before(decoded.data(), text.data() + text.size()))
      return narrow(static_cast<std::size_t>(decoded.data() - text.data()));
    names.append(decoded);
    return narrow(text.size() + names.size() - decoded.size());
  }

  Node& add(Kind kind, std::size_t begin) {
    if (!open_nodes.empty()) ++nodes[open_nodes.back()].children;
    Node node;
    node.kind = kind;
    node.begin = narrow(begin);
    node.key = key_at;
    node.key_size = key_size;
    key_size = 0;
    return nodes.emplace_back(node);
  }

  bool scalar(ScalarKind kind, std::size_t begin, std::size_t end, std::string_view decoded) {
    Node& node = add(kind_of(kind), begin);
    node.end = narrow(end);
    node.next = narrow(nodes.size());
    node.value = keep(decoded);
    node.value_size = narrow(decoded.size());
    return true;
  }
  bool open(bool is_object, std::size_t begin) {
    add(is_object ? Kind::object : Kind::array, begin);
    open_nodes.push_back(narrow(nodes.size() - 1));
    return true;
  }
  bool close(std::size_t end) {
    Node& node = nodes[open_nodes.back()];
    node.end = narrow(end);
    node.next = narrow(nodes.size());
    open_nodes.pop_back();
    return true;
  }
  bool key(std::string_view decoded) {
    key_at = keep(decoded);
    key_size = narrow(decoded.size());
    return true;
  }
  static std::string failure() { return "refused"; }
};

}  // namespace

JsonIndex::JsonIndex(std::string_view text, std::string_view what) : JsonIndex(text, what, kDeepest) {}

JsonIndex::JsonIndex(std::string_view text, std::string_view what, std::size_t deepest) : text_(text) {
  constexpr std::size_t kLargest =
      std::numeric_limits<std::uint32_t>::max() / 2;  // the names are never longer than the text
  if (text.size() > kLargest) throw ProtocolError(std::string(what) + " is larger than 2 GiB");
  Builder builder{text, nodes_, names_, {}};
  scan_json(text, what, builder, deepest);
  refuse_duplicates(what);
}

void JsonIndex::refuse_duplicates(std::string_view what) const {
  std::vector<std::string_view> keys;
  for (std::size_t at = 0; at < nodes_.size(); ++at) {
    const Node& object = nodes_[at];
    if (object.kind != Kind::object || object.children < 2) continue;
    keys.clear();
    for (std::size_t child = at + 1; child < object.next; child = nodes_[child].next)
      keys.push_back(key(nodes_[child]));
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end())
      throw ProtocolError(std::string(what) + " has the key '" + printable_name(*twice) +
                          "' twice in one object, " + place_in(text_, object.begin));
  }
}

const char* describe(JsonIndex::Kind kind) {
  switch (kind) {
    case JsonIndex::Kind::null:
      return "null";
    case JsonIndex::Kind::boolean:
      return "a boolean";
    case JsonIndex::Kind::number:
      return "a number";
    case JsonIndex::Kind::string:
      return "a string";
    case JsonIndex::Kind::array:
      return "an array";
    case JsonIndex::Kind::object:
      return "an object";
  }
  return "?";
}

}  // namespace ipcm::wire
