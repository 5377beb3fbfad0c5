#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "ipcm/content.h"

namespace ipcm::wire {

/// Up to this size, copying costs less than a further slice for the kernel.
inline constexpr std::size_t kLargestCopied = 1024;

/// The JSON text of a content in three consecutive slices, so that a large payload is not copied into the
/// text around it. Borrowed.
///
/// For content of bytes, `payload` is the bytes, `before` is the JSON text around them, and `after` is empty.
struct ContentSlices {
  std::string_view before, payload, after;
  bool is_bytes = false;

  [[nodiscard]] static ContentSlices of(const Content& content) {
    if (content.is_bytes()) return {content.around_bytes(), content.as_bytes(), {}, true};
    return {{}, content.json(), {}};
  }
  [[nodiscard]] Content content() const {
    if (!is_bytes) return Content::trusted_json(joined());
    std::string bytes;
    bytes.reserve(size());  // also for the JSON text around them
    return Content::bytes_within(std::move(bytes.append(payload)), before);
  }
  [[nodiscard]] std::size_t size() const { return before.size() + payload.size() + after.size(); }
  [[nodiscard]] std::string joined() const {
    std::string text;
    text.reserve(size());
    return text.append(before).append(payload).append(after);
  }
};

/// An encoded message in three slices: `body` is borrowed from the content. A small message is all `head`.
struct EncodedMessage {
  std::string head;
  std::string_view body;
  std::string tail;

  [[nodiscard]] std::size_t size() const { return head.size() + body.size() + tail.size(); }
  /// Joins the slices, and moves the text out.
  [[nodiscard]] std::string take() { return std::move(head.append(body).append(tail)); }
};

}  // namespace ipcm::wire
