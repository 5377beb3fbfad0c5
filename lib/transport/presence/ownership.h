#pragma once

#include <memory>
#include <string>

#include "transport/transport.h"

namespace ipcm::transport {

inline constexpr const char* kOwnerFile = ".owner";

/// Returns the ownership of a bus as a lock file in a directory (kOwnerFile, or another).
[[nodiscard]] std::unique_ptr<Ownership> own_by_lock(const std::string& directory, const std::string& file);
[[nodiscard]] OwnerFacts owner_by_lock(const std::string& directory, const std::string& file);

}  // namespace ipcm::transport
