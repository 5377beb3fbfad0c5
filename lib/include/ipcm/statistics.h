#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace ipcm {

/// The numbers of messages that one member has sent to each peer, and read from each peer.
struct Statistics {
  std::map<std::string, std::uint64_t> sent;
  std::map<std::string, std::uint64_t> read;
};

}  // namespace ipcm
