#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/content.h"

namespace ipcm::command::jsonrpc {

// The messages of JSON-RPC 2.0, as text. Parts of other messages are slices of their text: the reader checks them, and
// nothing changes them.

// ---- What peers of the bus ask for

struct Wish {
  enum class Kind : std::uint8_t { call, subscribe, unsubscribe };
  Kind kind = Kind::call;
  std::string method;       ///< its name
  std::string_view quoted;  ///< call: the method as JSON
  std::string_view params;  ///< call: JSON; empty: none
  bool answers = false;     ///< subscribe: the peer also answers requests of the program
};
/// Reads {"method":…,"params":…}, {"subscribe":…,"answers":…} or {"unsubscribe":…}. The slices refer to `content`, which
/// must outlive them. Throws UsageError for anything else.
[[nodiscard]] Wish read_wish(const Content& content);

/// A message that a program gets before it is ready.
struct Greeting {
  std::string method, quoted, params;
  bool expects_result = false;
};
/// Reads an entry of `handshake`: {"method":…,"params":…}, with an "id" if it expects a result. Throws UsageError.
[[nodiscard]] Greeting read_greeting(const Content& content);

// ---- Messages to the program

/// id: none for a notification. `quoted` and `params` are JSON.
[[nodiscard]] std::string call_text(std::optional<std::uint64_t> id, std::string_view quoted,
                                    std::string_view params);
/// id and result are JSON.
[[nodiscard]] std::string result_text(std::string_view id, std::string_view result);
/// id and error are JSON.
[[nodiscard]] std::string error_text(std::string_view id, std::string_view error);
/// Returns {"code":…,"message":…}.
[[nodiscard]] std::string error_object(int code, std::string_view message);

inline constexpr int kInvalidRequest = -32600, kMethodNotFound = -32601, kServerError = -32000;

// ---- Messages from the program

struct Incoming {
  enum class Kind : std::uint8_t { request, notification, result, error, invalid };
  Kind kind = Kind::invalid;
  std::string_view text;                ///< the message
  std::string_view id;                  ///< JSON; empty: none, or no valid one
  std::optional<std::uint64_t> number;  ///< the id, if it is a number as we give them
  std::string method;                   ///< of a request or a notification
  std::string_view quoted, params;      ///< as JSON; empty: none
  std::string_view payload;             ///< the result, or the error object
  std::string why;                      ///< of an invalid one
};

/// Returns the members of an array, or the text itself if it is an object. Throws ProtocolError if it is no JSON or
/// another value.
[[nodiscard]] std::vector<std::string_view> members_of(std::string_view text);
/// Reads one of these members. Never throws for valid JSON: a message against the standard is invalid.
[[nodiscard]] Incoming read_incoming(std::string_view text);

/// Returns a slice of checked JSON as content.
[[nodiscard]] Content content_of(std::string_view json);
/// Returns the content {"method":…,"params":…} for peers of the bus.
[[nodiscard]] Content call_content(const Incoming& incoming);
/// Returns the error object for the program if a peer has refused its request: the text itself if it is one.
[[nodiscard]] std::string error_from_peer(const std::string& text);

}  // namespace ipcm::command::jsonrpc
