#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ipcm/message.h"
#include "wire/body.h"
#include "wire/content_slices.h"
#include "wire/parsed_content.h"

namespace ipcm::wire {

/// Encodes a message as one JSON object (docs/bus.md, "Messages").
[[nodiscard]] EncodedMessage write_envelope(const Message& message, const ContentSlices& content);
[[nodiscard]] std::string write_envelope(const Message& message);
/// Appends it to `into`.
void append_envelope(std::string& into, const Message& message, const ContentSlices& content);

/// Throws the UsageError with which all of these refuse content of bytes. It says what to do instead.
[[noreturn]] void refuse_bytes();

/// Decodes a message. Adds missing fields as the reference does: id, stamp (now), stamp_ord (0), to
/// (`receiver`). Throws ProtocolError for text that is no JSON object, and for an object without `from`, or
/// without a content other than null.
[[nodiscard]] Message read_envelope(std::string_view text, std::string_view receiver);

/// As read_envelope(), and parses a request or a response that has the form in which we write it.
[[nodiscard]] IncomingMessage decode_envelope(std::string_view text, std::string_view receiver);

/// Decodes a message in the three slices that write_envelope() has made, without joining them: `body` is
/// checked by itself, and becomes the content or the payload. nullopt: the message must be decoded as a
/// whole; then `body` is unchanged.
[[nodiscard]] std::optional<IncomingMessage> decode_envelope(std::string_view head, Body& body,
                                                             std::string_view tail,
                                                             std::string_view receiver);

/// The first frame on a connection. It names the caller.
[[nodiscard]] std::string write_hello(std::string_view name);
struct Hello {
  std::string name;
  unsigned version = 0;  ///< of our additions to the protocol (docs/bus.md); 0: the peer has none
};
/// Throws ProtocolError unless it is an object with a non-empty string `hello`; ignores other keys.
[[nodiscard]] Hello read_hello(std::string_view text);
/// Peers of this version and later accept messages in shared memory.
inline constexpr unsigned kSharesMemory = 2;
/// A hello that comes again later: an object with that single key.
[[nodiscard]] bool is_late_hello(std::string_view text);

}  // namespace ipcm::wire
