#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace ipcm::wire {

/// The large part of a message that arrives apart from the rest.
struct Body {
  std::string bytes;
  /// Whether the bytes are a JSON string without escapes. false: they are not, or they were not checked.
  bool is_plain_string = false;

  explicit Body(std::string given) : bytes(std::move(given)) {}
  /// Copies the bytes, and sets is_plain_string. Checks each piece right after its copy, while it is in the
  /// nearest cache of the processor.
  [[nodiscard]] static Body copy_of(std::string_view bytes);
};

}  // namespace ipcm::wire
