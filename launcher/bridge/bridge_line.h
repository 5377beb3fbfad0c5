#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipcm/content.h"
#include "ipcm/message.h"

namespace ipcm::launcher {

/// A line that the bridge sends to its program: a JSON object that begins with its type (docs/bridge.md).
class BridgeLine {
 public:
  /// Returns the line for a message.
  [[nodiscard]] static BridgeLine of(const Message& message);
  explicit BridgeLine(std::string_view type) : text_(R"({"type":")") { text_.append(type).push_back('"'); }
  /// Adds a member; `json` is JSON text, on one line.
  BridgeLine& json(std::string_view key, std::string_view json);
  /// Adds a string of another program; replaces bytes that are no UTF-8.
  BridgeLine& text(std::string_view key, std::string_view text);
  BridgeLine& number(std::string_view key, std::int64_t number) { return json(key, std::to_string(number)); }
  BridgeLine& names(std::string_view key, const std::vector<std::string>& names);
  /// Adds a value that another program has written: it may have newlines between its tokens.
  BridgeLine& value(std::string_view key, const Content& value);
  /// Adds "content", or "bytes" in base64.
  BridgeLine& content(const Content& content);
  [[nodiscard]] std::string take() { return std::move(text_.append("}")); }

 private:
  std::string text_;
};

}  // namespace ipcm::launcher
