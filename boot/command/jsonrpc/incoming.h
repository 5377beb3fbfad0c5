#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/content.h"

namespace ipcm::command::jsonrpc {

/// A message from the program. The slices refer to its text.
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

/// Returns the content {"method":…,"params":…} for peers of the bus.
[[nodiscard]] Content call_content(const Incoming& incoming);

}  // namespace ipcm::command::jsonrpc
