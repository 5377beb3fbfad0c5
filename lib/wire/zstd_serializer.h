#pragma once

#include <memory>

#include "wire/serializer.h"

namespace ipcm::wire {

/// `JSON::Zstd`: the JSON serializer's bytes, each payload one zstd frame. Options: `level` (1 to 22, else
/// 3), `dictionary` (a file that all on the bus can read). Plain JSON is read as well.
///
/// What a frame says of its size is not believed: it is inflated piece by piece, up to kLargestFrame. Threads
/// and forks: a compressor is taken by whoever uses it, and nobody waits for one.
[[nodiscard]] std::shared_ptr<const Serializer> make_json_zstd(const BusInfo& info);

}  // namespace ipcm::wire
