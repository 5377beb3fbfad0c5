#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ipcm/message.h"
#include "wire/body.h"
#include "wire/content_slices.h"
#include "wire/fields.h"

namespace ipcm::wire {

// The meaning of the content of a message: a request, a response, or the word to terminate. All other content
// is a general message.
//   {"ipcm_request_id": ID, "request": any}
//   {"ipcm_request_id": ID, "ipcm_inspect": 1, "request": null}   for the facts of a service of this library
//   {"ipcm_response_id": ID, "response": any}              and "ipcm_error": TEXT if it failed
//   {"terminate": 1}
// If the payload of a request or response is bytes, null stands in its place, and the bytes stand beside it
// (docs/bus.md, `Cereal`).

enum class Meaning { general, request, response, terminate };

struct ParsedContent {
  Meaning meaning = Meaning::general;
  std::string id;         ///< of the request, or of the request that is answered
  Content payload;        ///< the request, or the response
  std::string error;      ///< of a response that failed; otherwise empty
  bool inspects = false;  ///< a request for the facts of the service: the library answers it
};

/// A message that came in. Once its content is parsed, the content of a response (and of a request, if the
/// reader answers requests) is null, and only `parsed` has its payload.
struct IncomingMessage {
  Message message;
  std::optional<ParsedContent> parsed = {};
  /// The connection that it came on; see Transport::reply(). 0: the protocol has none.
  std::uint64_t connection = 0;

  [[nodiscard]] std::size_t size() const {
    return message.content.size() + (parsed ? parsed->payload.size() : 0) + size_of(message.fields);
  }
  /// Returns the message as it was sent. (Of a parsed request with further keys, only the id and the payload
  /// are left.)
  [[nodiscard]] Message whole() &&;
};

/// Parses a request or a response that has the form in which we write it. false: use classify().
[[nodiscard]] bool parse_own_content(std::string_view content, std::optional<ParsedContent>& parsed);

/// Parses a content in three slices, and moves `payload` into the result. nullopt: use classify(); then
/// `payload` is unchanged.
[[nodiscard]] std::optional<ParsedContent> parse_own_content(std::string_view before, Body& payload,
                                                             std::string_view after);
/// Returns whether a text is one JSON value in ASCII, without blanks around it, that can stand in the content
/// of a message.
[[nodiscard]] bool is_payload(std::string_view text) noexcept;
[[nodiscard]] inline bool is_payload(const Body& body) noexcept {
  return body.is_plain_string || is_payload(body.bytes);
}
/// Replaces a payload while the text around it is parsed.
inline constexpr std::string_view kPayloadStandIn = "0";

/// Parses a content. Content that has none of the forms above is general. Never throws.
[[nodiscard]] ParsedContent classify(const Content& content);
/// Parses a content, and moves the payload of a response out of it; with `requests`, also that of a request.
/// Then the content is null. Without `requests` the result for a request has no payload.
[[nodiscard]] ParsedContent parse_in_place(Content& content, bool requests);

/// The text before and after the payload of a request or a response.
[[nodiscard]] std::string request_begin(const std::string& id);
[[nodiscard]] std::string response_begin(const std::string& id);
/// As request_begin(), of a request for the facts of a service. Only a peer that has announced on the bus that it
/// understands it may get it (transport::PeerNote); its payload is null.
[[nodiscard]] std::string inspection_begin(const std::string& id);
inline constexpr std::string_view kWrapperEnd = "}";

/// Returns the slices of a payload between these. Borrows `begin`, and completes it for bytes.
[[nodiscard]] ContentSlices wrap_payload(std::string& begin, const Content& payload);

/// Parses the JSON text that came with bytes: a request or a response with null where the bytes belong; the
/// caller then sets the payload. nullopt: it is neither, or has something else in that place.
[[nodiscard]] std::optional<ParsedContent> parse_around_bytes(std::string_view around);

[[nodiscard]] Content request_content(const std::string& id, const Content& request);
[[nodiscard]] Content response_content(const std::string& id, const Content& response);
[[nodiscard]] Content error_content(const std::string& id, const std::string& text);
[[nodiscard]] Content terminate_content();

}  // namespace ipcm::wire
