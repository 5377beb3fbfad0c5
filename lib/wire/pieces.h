#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "ipcm/content.h"

namespace ipcm::wire {

/// What is as small as that costs less to copy than to hand to the kernel as a piece of its own.
inline constexpr std::size_t kLargestCopied = 1024;

/// The JSON text of a content in three pieces that follow one another, so that a large payload is not copied
/// into what wraps it. Borrowed.
///
/// Of bytes, the payload is the bytes, `before` is all of the JSON text around them, and `after` is empty.
struct ContentPieces {
  std::string_view before, payload, after;
  bool is_bytes = false;

  [[nodiscard]] static ContentPieces of(const Content& content) {
    if (content.is_bytes()) return {content.around_bytes(), content.as_bytes(), {}, true};
    return {{}, content.json(), {}};
  }
  [[nodiscard]] Content content() const {
    if (!is_bytes) return Content::trusted_json(joined());
    std::string bytes;
    bytes.reserve(size());  // also for what is around them
    return Content::bytes_within(std::move(bytes.append(payload)), before);
  }
  [[nodiscard]] std::size_t size() const { return before.size() + payload.size() + after.size(); }
  [[nodiscard]] std::string joined() const {
    std::string text;
    text.reserve(size());
    return text.append(before).append(payload).append(after);
  }
};

/// A message as bytes, likewise: `body` is borrowed from what was written. A small one is all `head`.
struct Written {
  std::string head;
  std::string_view body;
  std::string tail;

  [[nodiscard]] std::size_t size() const { return head.size() + body.size() + tail.size(); }
  /// As one, moved out.
  [[nodiscard]] std::string take() { return std::move(head.append(body).append(tail)); }
};

}  // namespace ipcm::wire
