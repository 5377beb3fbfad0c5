#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ipcm/message.h"
#include "wire/body.h"
#include "wire/pieces.h"

namespace ipcm::wire {

// What the content of a message means to services: requests, responses, and the word to end. Anything else is
// a general message.
//   {"ipcm_request_id": ID, "request": any}
//   {"ipcm_response_id": ID, "response": any}              and "ipcm_error": TEXT if it failed
//   {"terminate": 1}
// A request or response that is bytes has null in their place, and the bytes beside it (docs/bus.md,
// `Cereal`).

enum class Meaning { general, request, response, terminate };

struct Conversation {
  Meaning meaning = Meaning::general;
  std::string id;     ///< of the request, or of the request that is answered
  Content payload;    ///< the request, or the response
  std::string error;  ///< of a response that failed; otherwise empty
};

/// A message that came in, and what it says, once somebody has looked: then the content of a request or a
/// response is null, and its payload is all that is left of it.
struct Heard {
  Message message;
  std::optional<Conversation> said = {};
  /// The connection that it came on, where there are some; see Transport::reply(). 0: none.
  std::uint64_t connection = 0;

  [[nodiscard]] std::size_t size() const {
    return message.content.size() + (said ? said->payload.size() : 0);
  }
  /// As it was sent. (A request that was taken apart, and was not ours, has its id and its payload only.)
  [[nodiscard]] Message whole() &&;
};

/// A request or a response as we write it ourselves, read in one go. false: it is to be read otherwise.
[[nodiscard]] bool read_own_conversation(std::string_view content, std::optional<Conversation>& said);

/// The same of a content in three pieces, of which the payload is one: it becomes that without being copied.
/// nullopt: it is to be read otherwise, and `payload` is as before.
[[nodiscard]] std::optional<Conversation> read_own_conversation(std::string_view before, Body& payload,
                                                                std::string_view after);
/// Where the payload is checked by itself: one value in ASCII, with nothing around it, that can stand in the
/// content of a message.
[[nodiscard]] bool is_payload(std::string_view text) noexcept;
[[nodiscard]] inline bool is_payload(const Body& body) noexcept {
  return body.is_plain_string || is_payload(body.bytes);
}
/// Stands where a payload is, for reading what is around it.
inline constexpr std::string_view kPayloadStandIn = "0";

/// Content that is not one of ours, or no object, is general; this never throws.
[[nodiscard]] Conversation understand(const Content& content);
/// The same, for who keeps the content of general messages only: that of responses, and of `requests` if
/// asked for, is null then. A request that stays has no payload here.
[[nodiscard]] Conversation take_apart(Content& content, bool requests);

/// What stands before and after a payload that is sent as request or as response.
[[nodiscard]] std::string request_begin(const std::string& id);
[[nodiscard]] std::string response_begin(const std::string& id);
inline constexpr std::string_view kConversationEnd = "}";

/// A payload between these. `begin` is borrowed, and completed for bytes.
[[nodiscard]] ContentPieces in_conversation(std::string& begin, const Content& payload);

/// What is said by JSON text that came with bytes: a request or a response, whose payload they are to become;
/// here it is null. nullopt: neither, or something else is in their place.
[[nodiscard]] std::optional<Conversation> read_around_bytes(std::string_view around);

[[nodiscard]] Content request_content(const std::string& id, const Content& request);
[[nodiscard]] Content response_content(const std::string& id, const Content& response);
[[nodiscard]] Content error_content(const std::string& id, const std::string& text);
[[nodiscard]] Content terminate_content();

}  // namespace ipcm::wire
