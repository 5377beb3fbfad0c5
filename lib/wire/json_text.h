#pragma once

#include <string>
#include <string_view>

#include "wire/utf8.h"

namespace ipcm::wire {

/// Appends or returns a JSON string, quotes included, in pure ASCII, because Perl peers do not decode UTF-8.
/// For broken UTF-8, throws ProtocolError, or inserts U+FFFD if the text must get through, such as an error
/// text.
enum class BrokenUtf8 { refused, replaced };
void append_json_string(std::string& into, std::string_view utf8, BrokenUtf8 broken = BrokenUtf8::refused);
[[nodiscard]] std::string json_string(std::string_view utf8, BrokenUtf8 broken = BrokenUtf8::refused);

/// Returns valid JSON text with every non-ASCII character escaped and nothing else changed.
[[nodiscard]] std::string to_ascii(std::string_view valid_json);

/// Returns valid JSON text without white space between tokens, and with readable characters instead of their
/// escapes (not for control characters, quotes, backslashes, and characters that is_shown() refuses).
[[nodiscard]] std::string to_readable(std::string_view valid_json);

/// Throws ProtocolError unless `text` is one valid JSON value, fit to be the content of a message.
void check_json(std::string_view text, std::string_view what);

}  // namespace ipcm::wire
