#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"

namespace ipcm::transport {

/// The contents of the file of a JSONFile bus. Values that others have written stay text, and unknown keys
/// stay as they are.
struct JsonDocument {
  /// Throws ProtocolError.
  [[nodiscard]] static JsonDocument parse(std::string_view text);
  [[nodiscard]] std::string text() const;

  std::map<std::string, std::string> clients;   ///< Objects.
  std::map<std::string, std::string> messages;  ///< Arrays, unread; by receiver.
  std::map<std::string, std::string> stats;     ///< Objects.
  std::map<std::string, std::string> others;

  /// The text had exactly the three keys.
  bool has_just_ours = false;
  /// Returns whether it is the document of a bus, by its contents.
  [[nodiscard]] bool is_that_of_a_bus() const;
};

/// The object of a client: `{"pid":n}`, and the fields that this library adds.
struct JsonClient {
  std::optional<Pid> pid;  ///< absent: a client of ours has suspended
  /// The end of its suspension. The reference leaves the pid as it was.
  std::optional<double> suspend_expires_at;
  std::optional<double> since;  ///< ours: the start time of that process
  [[nodiscard]] bool is_away() const { return !pid || suspend_expires_at; }
  /// Returns whether its suspension has ended without its return.
  [[nodiscard]] bool has_expired(double now) const {
    return is_away() && suspend_expires_at.value_or(now) < now;
  }
  [[nodiscard]] static JsonClient parse(std::string_view object);
  [[nodiscard]] std::string text() const;
};

/// Returns the elements of an array; none if it is no array.
[[nodiscard]] std::vector<std::string_view> elements_of(std::string_view array);
[[nodiscard]] std::string array_of(const std::vector<std::string_view>& elements);
/// Appends an element without reading the others.
void append_element(std::string& array, std::string_view element);
/// Returns the key of a message: its id, or its whole text if its sender gave it no id.
[[nodiscard]] std::string key_of_message(std::string_view object);

}  // namespace ipcm::transport
