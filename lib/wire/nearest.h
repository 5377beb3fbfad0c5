#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ipcm::wire {

/// Returns the candidate that `word` probably means: one with a few letters wrong, missing, doubled or
/// exchanged, or one that begins with `word`. Empty: none is near.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// Returns " (did you mean 'echo'?)" or an empty text, to append to the word in an error.
[[nodiscard]] std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace ipcm::wire
