#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ipcm::wire {

/// The positions of all values of a JSON text: a flat list in document order, without copies of the text.
class JsonIndex {
 public:
  enum class Kind : std::uint8_t { null, boolean, number, string, array, object };
  struct Node {
    Kind kind = Kind::null;
    std::uint32_t begin = 0, end = 0;  ///< in the text
    std::uint32_t next = 0;            ///< the node after this one and all below it
    std::uint32_t children = 0;
    std::uint32_t key = 0, key_size = 0;      ///< of a member: its name
    std::uint32_t value = 0, value_size = 0;  ///< of a string: without escapes
  };

  /// `text` must outlive the index. Throws ProtocolError, also for a key that occurs twice in one object.
  JsonIndex(std::string_view text, std::string_view what);
  JsonIndex(std::string_view text, std::string_view what, std::size_t deepest);

  [[nodiscard]] const Node& node(std::size_t index) const { return nodes_[index]; }
  [[nodiscard]] std::string_view text(const Node& of) const {
    return text_.substr(of.begin, of.end - of.begin);
  }
  [[nodiscard]] std::string_view key(const Node& of) const { return part(of.key, of.key_size); }
  [[nodiscard]] std::string_view string(const Node& of) const { return part(of.value, of.value_size); }

 private:
  [[nodiscard]] std::string_view part(std::uint32_t at, std::uint32_t size) const {
    return at < text_.size() ? text_.substr(at, size)
                             : std::string_view(names_).substr(at - text_.size(), size);
  }
  void refuse_duplicates(std::string_view what) const;

  std::string_view text_;
  std::vector<Node> nodes_;
  // names and strings whose text has escapes; for a Node, positions beyond the text refer to it
  std::string names_;
};

/// Returns "a string", "an object" and so on, for messages.
[[nodiscard]] const char* describe(JsonIndex::Kind kind);

}  // namespace ipcm::wire
