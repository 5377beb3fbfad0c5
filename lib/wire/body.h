#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace ipcm::wire {

/// The large part of a message that arrives apart from the rest.
struct Body {
  std::string bytes;
  /// A JSON string without escapes. false: it has some, or nobody has checked.
  bool is_plain_string = false;

  explicit Body(std::string given) : bytes(std::move(given)) {}
  /// Checks each piece while it is copied, when it is in the processor's nearest cache: a check after the
  /// copy would load all of it once more.
  [[nodiscard]] static Body copy_of(std::string_view bytes);
};

}  // namespace ipcm::wire
