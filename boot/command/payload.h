#pragma once

#include <string>
#include <string_view>

#include "ipcm/content.h"

namespace ipcm::command {

// Content of the bus as text for programs, and back.

/// Returns the text of a request. `raw`: a string goes out without quotes and escapes, other values as JSON. Throws
/// UsageError for bytes.
[[nodiscard]] std::string text_for_program(Content&& content, bool raw);
/// The same on one line, without the newline. Throws UsageError if the text of a string has newlines.
[[nodiscard]] std::string line_for_program(Content&& content, bool raw);
/// Returns the answer that a program has printed: one JSON value, or with `raw` the text as a string without the newline
/// at its end. Throws Error that quotes the beginning of other text.
[[nodiscard]] Content answer_of_program(std::string_view text, bool raw);

}  // namespace ipcm::command
