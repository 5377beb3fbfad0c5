#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ipcm::wire {

// Makes names, ids and texts of others safe for logs and terminals. There, a control character moves the
// cursor or begins a terminal command, and a newline forges a line of a log. Content is not changed: a
// program that needs the exact text reads it as JSON.

/// The longest part of a name that is shown, in bytes.
inline constexpr std::size_t kLongestShownName = 255;
/// The longest part of a sentence that is shown, in bytes.
inline constexpr std::size_t kLongestShownText = 16UL * 1024;

/// Whether a terminal shows this character as itself: false for control characters, line separators,
/// characters that change the direction of writing, and invisible marks.
[[nodiscard]] bool is_shown(std::uint32_t point) noexcept;

enum class Newlines { escaped, kept };

/// Returns the text with \n, \t, \r, \xNN (bytes) and \u{N} (characters) in place of characters that are not
/// shown: pure UTF-8, on one line unless newlines are kept. Of a longer text, returns the first `most` bytes
/// and the length. A printable text is unchanged.
[[nodiscard]] std::string printable(std::string_view text, std::size_t most = kLongestShownText,
                                    Newlines newlines = Newlines::escaped);
/// The same for one name, with its shorter limit.
[[nodiscard]] std::string printable_name(std::string_view name);

}  // namespace ipcm::wire
