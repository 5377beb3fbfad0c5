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

// Pipes with a name, which one process reads and many write to.

/// Makes one at `directory`/`name`, mode 0700, and opens it to read from, non-blocking: it never ends,
/// whether somebody writes or not. As large as the kernel allows. Throws SystemError (EEXIST if the name is
/// there).
[[nodiscard]] UniqueFd make_fifo_at(const Directory& directory, const std::string& name);
/// Opens it to write to, non-blocking. nullopt: nobody reads it, or there is none.
[[nodiscard]] std::optional<UniqueFd> open_fifo_at(const Directory& directory, const std::string& name);

/// Reads at most into.size() bytes; `got` tells how many.
[[nodiscard]] ReadResult read_fifo(int fd, std::span<char> into, std::size_t* got);
/// Writes to pipes for a while. As long as it lives, a pipe that nobody reads raises no SIGPIPE in this
/// thread.
class PipeWriting {
 public:
  /// Writes all of at most PIPE_BUF bytes, or nothing.
  [[nodiscard]] PutResult put(int fd, std::string_view bytes);

 private:
  QuietWrites quiet_writes_;
};

}  // namespace ipcm::os
