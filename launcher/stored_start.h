#pragma once

#include <cstdint>
#include <string>

#include "ipcm/launch.h"

namespace ipcm::launcher {

/// What `ipcm start` keeps of a start, so that `ipcm restart` can repeat it: a JSON object in the file of
/// ipcm/service_parameters.h. Paths are absolute. The environment is not kept: a restart uses its own.
struct StoredStart {
  std::string class_name;
  Content args;           ///< null: none, or they are secret
  bool secret = false;    ///< The parameters were secret, and are not kept.
  std::string boot;       ///< the boot binary; empty: the library searches for it
  std::string directory;  ///< the working directory
  bool expose_error_details = false;
  std::int64_t interval_ns = 0, spin_ns = 0;  ///< 0: none
  Redirect redirect;                          ///< its three streams
  Pid pid = 0;                                ///< the process that was started

  /// Returns the start of a service with these options that became process `pid`.
  [[nodiscard]] static StoredStart of(const ServiceOptions& service, Pid pid);
  /// Reads the text. Throws ProtocolError.
  [[nodiscard]] static StoredStart parse(const std::string& text);
  [[nodiscard]] std::string text() const;
  /// Sets what is kept in the options of a new start.
  void apply(ServiceOptions& service) const;
};

}  // namespace ipcm::launcher
