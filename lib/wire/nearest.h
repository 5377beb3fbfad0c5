#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ipcm::wire {

/// The candidate that `word` was probably meant to be: a few letters typed wrongly, left out, doubled or
/// exchanged, or its beginning. Empty: none is near.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// " (did you mean 'echo'?)", or nothing: for an error, behind the word.
[[nodiscard]] std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace ipcm::wire
