#pragma once

#include <string>

namespace ipcm::database {

/// The ids of rows of ipcm_ours that are no peers (server.h); the last one is only part of a lock key.
inline const std::string kOwnerId = "_owner", kMadeId = "_made", kBusId = "_bus", kMakingId = "_making";

}  // namespace ipcm::database
