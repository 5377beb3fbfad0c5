#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "os/clock.h"
#include "os/descriptor.h"

namespace ipcm::os {

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};
/// Both ends close-on-exec. Our own end of what crosses a process boundary is made non-blocking by whoever
/// reads it.
[[nodiscard]] Pipe make_pipe();

/// The same end of a pipe, but for reading and writing, where that can be had (it needs /proc).
[[nodiscard]] UniqueFd open_both_ways(UniqueFd end);

/// Whether anybody can still write to the pipe that this is the read end of.
[[nodiscard]] bool has_writer(int read_end);

[[nodiscard]] bool is_readable(int fd);  ///< A read would not block: bytes, or the end.
/// Waits until there is something to read in a pipe, or until all of it is there and its writers have gone.
/// false: `unless` became readable first (-1: nothing else is looked at).
enum class Input { some, all };
[[nodiscard]] bool await_input(int fd, Input until, int unless);

/// What became of something that goes whole or not at all.
enum class PutResult {
  done,
  later,  ///< no room; the descriptor tells when there is some (EPOLLOUT)
  gone,   ///< nobody reads there any more
};

/// What one read gave.
enum class ReadResult { some, later, end };
/// Appends what is there, at most `most` bytes, to `into`. Errors other than would-block throw SystemError.
[[nodiscard]] ReadResult read_some(int fd, std::string& into, std::size_t most, const char* what);
/// All up to the end; throws ProtocolError beyond `limit` bytes. For blocking descriptors.
[[nodiscard]] std::string read_all(int fd, std::size_t limit, const char* what);
/// What comes up to the end, or to the deadline, whichever is first; not more than `limit` bytes and a piece.
[[nodiscard]] std::string read_until_end(int fd, Deadline deadline, const char* what,
                                         std::size_t limit = 64UL * 1024);
/// All of it, waiting as needed (also on a non-blocking descriptor). Throws SystemError; a closed pipe is
/// EPIPE, a file at the limit of file sizes is EFBIG; neither raises a signal.
void write_all(int fd, std::string_view bytes, const char* what);
/// The same without complaint: false if not all went out.
[[nodiscard]] bool try_write_all(int fd, std::string_view bytes) noexcept;
/// A line of at most PIPE_BUF bytes, whole, once the descriptor takes something; false: it went out in part
/// or not at all, as the deadline came first.
[[nodiscard]] bool try_write_line(int fd, std::string_view line, Deadline deadline) noexcept;
/// What goes out at once, on a descriptor that does not block; how many bytes that was.
[[nodiscard]] std::size_t try_put(int fd, std::string_view bytes) noexcept;

/// An anonymous file in memory with this content, sealed against every change, positioned at its start.
[[nodiscard]] UniqueFd make_sealed_memory_file(const char* name, std::string_view content);
/// Something that another process reads this content from, once, up to the end: such a file; where the system
/// refuses one, a pipe that holds all of it. Throws SystemError where neither can be had.
[[nodiscard]] UniqueFd make_readable_once(const char* name, std::string_view content);
/// The content of one that came from outside. Throws ProtocolError for what is no memory file, is not sealed
/// (so that it could change under our hands), or is larger than `limit`.
[[nodiscard]] std::string read_sealed_memory_file(int fd, std::size_t limit);

}  // namespace ipcm::os
