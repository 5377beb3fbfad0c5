#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ipcm::command::jsonrpc {

/// How messages stand one after another in a stream.
enum class Framing : std::uint8_t {
  lines,          ///< each on a line of its own
  content_length  ///< each after a header as in HTTP: the framing of the Language Server Protocol
};

/// Returns the message as it goes into the stream. `json` is one JSON value.
[[nodiscard]] std::string framed(std::string json, Framing framing);

/// Finds the messages in a stream.
class FrameReader {
 public:
  /// most: the largest message in bytes.
  FrameReader(Framing framing, std::size_t most) : framing_(framing), most_(most) {}

  struct Step {
    std::size_t size = 0;      ///< this much of the stream is done
    std::string_view message;  ///< a part of it; empty: it has no message
  };
  /// Returns the first step of `stream`, which begins where the last step ended. nullopt: it needs more bytes. Throws
  /// Error that completes "the program …" if the framing is broken; the stream can't be read any more.
  [[nodiscard]] std::optional<Step> next(std::string_view stream);

 private:
  [[nodiscard]] std::optional<Step> next_line(std::string_view stream);
  [[nodiscard]] std::optional<Step> next_header(std::string_view stream);

  Framing framing_;
  std::size_t most_;
  std::size_t searched_ = 0;           // lines: bytes without a newline
  std::optional<std::size_t> length_;  // of the message that follows a header
};

}  // namespace ipcm::command::jsonrpc
