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

  /// Whether the text had each of the three keys, and no other.
  bool has_just_ours = false;
  /// Whether it is the document of a bus, by what is in it.
  [[nodiscard]] bool is_that_of_a_bus() const;
};

/// A client's object: `{"pid":n}`, and what ours adds.
struct JsonClient {
  std::optional<Pid> pid;  ///< absent: one of ours has suspended
  /// It has suspended, and is waited for until then. The reference leaves the pid as it was.
  std::optional<double> suspend_expires_at;
  std::optional<double> since;  ///< ours: when that process was started
  [[nodiscard]] bool is_away() const { return !pid || suspend_expires_at; }
  /// It is away, and the time that it is waited for has passed.
  [[nodiscard]] bool has_expired(double now) const {
    return is_away() && suspend_expires_at.value_or(now) < now;
  }
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
