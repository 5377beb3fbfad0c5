#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace ipcm::wire {

/// The large part of a message, where it comes beside the rest.
struct Body {
  std::string bytes;
  /// A JSON string in which each character stands for itself. false: nobody has looked, or it is not.
  bool is_plain_string = false;

  explicit Body(std::string given) : bytes(std::move(given)) {}
  /// Looks at each piece while it is copied, and so is in the processor's nearest cache: all of it would have
  /// to come through there once more to be looked at afterwards.
  [[nodiscard]] static Body copy_of(std::string_view bytes);
};

}  // namespace ipcm::wire
