#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"

namespace ipcm::transport {

/// What is in the file of a JSONFile bus, as far as one needs to understand it: values that others have
/// written stay their text, keys that we do not know stay too.
struct JsonDocument {
  /// Throws ProtocolError.
  [[nodiscard]] static JsonDocument parse(std::string_view text);
  [[nodiscard]] std::string text() const;

  std::map<std::string, std::string> clients;   ///< Objects.
  std::map<std::string, std::string> messages;  ///< Arrays, unread; by receiver.
  std::map<std::string, std::string> stats;     ///< Objects.
  std::map<std::string, std::string> others;
};

/// A client's object: `{"pid":n}`, and what ours adds.
struct JsonClient {
  std::optional<Pid> pid;                 ///< absent: it has suspended
  std::optional<double> suspend_expires;  ///< ours: until when it is waited for then
  std::optional<double> since;            ///< ours: when that process was started
  [[nodiscard]] static JsonClient parse(std::string_view object);
  [[nodiscard]] std::string text() const;
};

/// The elements of an array; nothing for what is none.
[[nodiscard]] std::vector<std::string_view> elements_of(std::string_view array);
[[nodiscard]] std::string array_of(const std::vector<std::string_view>& elements);
/// One element more, without reading the others.
void append_element(std::string& array, std::string_view element);
/// What tells a message from others: its id, or, where its sender gave it none, its whole text.
[[nodiscard]] std::string key_of_message(std::string_view object);

}  // namespace ipcm::transport
