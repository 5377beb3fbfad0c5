#pragma once

#include <string>

namespace ipcm {

/// Where the three standard streams of a service lead. Empty: where those of the caller lead. Otherwise a
/// path (the file is made if it does not exist, and appended to); "&7": the caller's descriptor of that
/// number; "&orig": where the stream led before the caller, itself a service, was redirected.
struct Redirect {
  std::string in = {};
  std::string out = {};
  std::string err = {};
  /// Whether the services that this one starts have these streams too, unless they are redirected
  /// themselves. Otherwise they get the original streams.
  bool inherited = true;
  /// Whether the service gets the original streams as well (Service::orig_io). Otherwise it does not keep
  /// them open, and a reader of a pipe sees its end without waiting for the service.
  bool keep_original = true;
  friend bool operator==(const Redirect&, const Redirect&) = default;
};

}  // namespace ipcm
