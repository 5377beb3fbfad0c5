#pragma once

#include <string>
#include <utility>

namespace ipcm::transport {

/// What a member tells about itself to all that look at it on the bus.
struct PeerNote {
  PeerNote() = default;
  PeerNote(std::string text, bool inspectable = false)  // NOLINT: mostly there is only the text
      : class_name(std::move(text)), is_inspectable(inspectable) {}
  PeerNote(const char* text) : class_name(text) {}  // NOLINT

  std::string class_name;       ///< The class of a service, or the purpose of a lock; may be empty.
  bool is_inspectable = false;  ///< It answers the request for its facts (ipcm/inspection.h).
};

}  // namespace ipcm::transport
