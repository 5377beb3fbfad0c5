#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ipcm::wire {

// Names, ids and texts that others chose, on their way to a log or a terminal. There, a control character
// moves the cursor or begins a command to the terminal, and a newline forges a line of the log. Content is
// not changed by this: a program that wants the exact text reads it as JSON.

/// As much of one name is shown.
inline constexpr std::size_t kLongestShownName = 255;
/// As much of one sentence is shown.
inline constexpr std::size_t kLongestShownText = 16UL * 1024;

/// Whether a terminal shows this character as itself: not for control characters, line separators, characters
/// that turn the direction of writing, and invisible marks.
[[nodiscard]] bool is_shown(std::uint32_t point) noexcept;

enum class Newlines { escaped, kept };

/// The text with \n, \t, \r, \xNN (bytes) and \u{N} (characters) in the place of all that is not shown; pure
/// UTF-8, on one line unless newlines are kept. Of a longer text the first `most` bytes are given, and its
/// length. A printable text stays as it is.
[[nodiscard]] std::string printable(std::string_view text, std::size_t most = kLongestShownText,
                                    Newlines newlines = Newlines::escaped);
/// The same for one name.
[[nodiscard]] std::string printable_name(std::string_view name);

}  // namespace ipcm::wire
