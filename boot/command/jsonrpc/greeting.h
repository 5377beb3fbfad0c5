#pragma once

#include <string>

#include "ipcm/content.h"

namespace ipcm::command::jsonrpc {

/// A message that a program gets before it is ready.
struct Greeting {
  std::string method, quoted, params;
  bool expects_result = false;
};
/// Reads an entry of `handshake`: {"method":…,"params":…}, with an "id" if it expects a result. Throws UsageError.
[[nodiscard]] Greeting read_greeting(const Content& content);

}  // namespace ipcm::command::jsonrpc
