#pragma once

#include <memory>

#include "wire/serializer.h"

namespace ipcm::wire {

/// Makes the serializer `JSON::Zstd`: each payload is the output of the JSON serializer in one zstd frame. It
/// reads plain JSON, too. Options: `level` (1 to 22; default 3), `dictionary` (a file that all members of the
/// bus can read).
///
/// The size that a frame announces is not trusted: frames are decompressed piece by piece, up to
/// kLargestFrame. Threads and forks: a call takes the idle compressor or makes a new one, and never waits.
[[nodiscard]] std::shared_ptr<const Serializer> make_json_zstd(const BusInfo& info);

}  // namespace ipcm::wire
