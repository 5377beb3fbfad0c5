#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ipcm/message.h"
#include "wire/body.h"
#include "wire/conversation.h"
#include "wire/pieces.h"

namespace ipcm::wire {

/// A message as one JSON object (docs/bus.md, "Messages").
[[nodiscard]] Written write_envelope(const Message& message, const ContentPieces& content);
[[nodiscard]] std::string write_envelope(const Message& message);
/// The same, behind what `into` has.
void append_envelope(std::string& into, const Message& message, const ContentPieces& content);

/// What all of these throw where the content is bytes: a UsageError that says what to do.
[[noreturn]] void refuse_bytes();

/// Reads one. What may be missing is made up as the reference does: id, stamp (now), stamp_ord (0), to
/// (`receiver`). Throws ProtocolError for what is no JSON object, or lacks a `from` or a content that is not
/// null.
[[nodiscard]] Message read_envelope(std::string_view text, std::string_view receiver);

/// The same, and what the content says if it says it as we do.
[[nodiscard]] Heard hear_envelope(std::string_view text, std::string_view receiver);

/// The same of a message in three pieces, as write_envelope() has made them, without putting it together:
/// `body` becomes what its content or its payload says, and is checked by itself. nullopt: it is to be read
/// as a whole, and `body` is as before.
[[nodiscard]] std::optional<Heard> hear_envelope(std::string_view head, Body& body, std::string_view tail,
                                                 std::string_view receiver);

/// The first frame on a connection: who is calling.
[[nodiscard]] std::string write_hello(std::string_view name);
struct Hello {
  std::string name;
  unsigned version = 0;  ///< of what we add to the protocol (docs/bus.md); 0: of none of ours
};
/// Throws ProtocolError unless it is an object with a non-empty string `hello`; other keys are passed over.
[[nodiscard]] Hello read_hello(std::string_view text);
/// Since this version, a peer takes messages in shared memory.
inline constexpr unsigned kSharesMemory = 2;
/// A hello that comes again later: an object with that single key.
[[nodiscard]] bool is_late_hello(std::string_view text);

}  // namespace ipcm::wire
