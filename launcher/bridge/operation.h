#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ipcm/basics.h"
#include "ipcm/content.h"

namespace ipcm::launcher {

/// A line that the program sends to its bridge (docs/bridge.md).
struct Operation {
  enum class Kind {
    request,
    send,
    broadcast,
    answer,
    error,
    peers,
    watch,
    ready,
    fail,
    suspend,
    reconnect,
    leave
  };
  Kind kind = Kind::request;
  std::string to;
  Content content;
  std::uint64_t request = 0;  ///< answer, error: the number of the request
  std::string error;
  std::optional<Duration> timeout;
  std::optional<Duration> expires;
  int status = 0;
};

/// What the reply to a line repeats, also if the line has a mistake.
struct Echo {
  std::string id;  ///< JSON text; empty: the line has none
  std::string op;  ///< empty: the line names none
};

/// Reads a line. Stores in `echo` what it finds, before it throws UsageError.
[[nodiscard]] Operation read_operation(std::string_view line, Echo& echo);

}  // namespace ipcm::launcher
