#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "os/descriptor.h"
#include "os/directory.h"
#include "os/pipe.h"
#include "os/signals.h"

namespace ipcm::os {

// Named pipes (FIFOs) with one reader and many writers.

/// Makes a FIFO at `directory`/`name` with mode 0700, as large as the kernel allows, and opens it for
/// reading, non-blocking. Reading never reports the end, with or without a writer. Throws SystemError (EEXIST
/// if the name exists).
[[nodiscard]] UniqueFd make_fifo_at(const Directory& directory, const std::string& name);
/// Opens it for writing, non-blocking. Returns nullopt if it has no reader or does not exist.
[[nodiscard]] std::optional<UniqueFd> open_fifo_at(const Directory& directory, const std::string& name);

/// Reads at most into.size() bytes, and stores their number in `got`.
[[nodiscard]] ReadResult read_fifo(int fd, std::span<char> into, std::size_t* got);
/// Writes to pipes. While this object lives, a write of this thread to a pipe without a reader raises no
/// SIGPIPE.
class PipeWriting {
 public:
  /// Writes all of `bytes` (PIPE_BUF at most) or nothing.
  [[nodiscard]] PutResult put(int fd, std::string_view bytes);

 private:
  QuietWrites quiet_writes_;
};

}  // namespace ipcm::os
