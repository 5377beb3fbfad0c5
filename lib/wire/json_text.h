#pragma once

#include <string>
#include <string_view>

#include "wire/utf8.h"

namespace ipcm::wire {

/// A string as JSON writes it, quotes included, pure ASCII: what Perl peers need, who do not decode UTF-8.
/// Throws ProtocolError for broken UTF-8, or puts U+FFFD there: for words that must get through, such as
/// error texts.
enum class BrokenUtf8 { refused, replaced };
void append_json_string(std::string& into, std::string_view utf8, BrokenUtf8 broken = BrokenUtf8::refused);
[[nodiscard]] std::string json_string(std::string_view utf8, BrokenUtf8 broken = BrokenUtf8::refused);

/// Valid JSON text with every non-ASCII character escaped; the rest as it is.
[[nodiscard]] std::string to_ascii(std::string_view valid_json);

/// Valid JSON text without white space between its tokens, and with characters in place of their escapes
/// where that is readable (not for control characters, quotes, backslashes, nor what is_shown() denies).
[[nodiscard]] std::string to_readable(std::string_view valid_json);

/// Throws ProtocolError unless `text` is one valid JSON value, fit to be the content of a message.
void check_json(std::string_view text, std::string_view what);

}  // namespace ipcm::wire
