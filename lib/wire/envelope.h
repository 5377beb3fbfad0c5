#pragma once

#include <string>
#include <string_view>

#include "ipcm/message.h"
#include "wire/conversation.h"
#include "wire/pieces.h"

namespace ipcm::wire {

/// A message as one JSON object (docs/bus.md, "Messages").
[[nodiscard]] Written write_envelope(const Message& message, const ContentPieces& content);
[[nodiscard]] std::string write_envelope(const Message& message);
/// The same, behind what `into` has.
void append_envelope(std::string& into, const Message& message, const ContentPieces& content);

/// Reads one. What may be missing is made up as the reference does: id, stamp (now), stamp_ord (0), to
/// (`receiver`). Throws ProtocolError for what is no JSON object, or lacks a `from` or a content that is not
/// null.
[[nodiscard]] Message read_envelope(std::string_view text, std::string_view receiver);

/// The same, and what the content says if it says it as we do.
[[nodiscard]] Heard hear_envelope(std::string_view text, std::string_view receiver);

/// The first frame on a connection: who is calling.
[[nodiscard]] std::string write_hello(std::string_view name);
/// Throws ProtocolError unless it is an object with a non-empty string `hello`; other keys are passed over.
[[nodiscard]] std::string read_hello(std::string_view text);
/// A hello that comes again later: an object with that single key.
[[nodiscard]] bool is_late_hello(std::string_view text);

}  // namespace ipcm::wire
