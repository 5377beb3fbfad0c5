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
/// Makes a pipe; both ends are close-on-exec. If the other end crosses a process boundary, the reader of our
/// end makes that end non-blocking. Throws SystemError.
[[nodiscard]] Pipe make_pipe();

/// Opens the same end of a pipe for reading and writing, if possible (this needs /proc).
[[nodiscard]] UniqueFd open_both_ways(UniqueFd end);

/// Opens a file for reading, without blocking: a FIFO needs no writer yet, and a
/// terminal does not become the terminal of this process. Throws SystemError.
[[nodiscard]] UniqueFd open_input(const std::string& path);

/// Whether any process can still write to the pipe of this read end.
[[nodiscard]] bool has_writer(int read_end);

[[nodiscard]] bool is_readable(int fd);  ///< Whether a read would not block: there are bytes, or the end.
/// Waits until a pipe has bytes, or until all its writers have closed it. Returns false if `unless` became
/// readable first (-1: watches nothing else).
enum class Input { some, all };
[[nodiscard]] bool await_input(int fd, Input until, int unless);

/// The result of sending something whole or not at all.
enum class PutResult {
  done,
  later,  ///< no room; EPOLLOUT reports room
  gone,   ///< the reader has closed it
};

/// The result of one read.
enum class ReadResult { some, later, end };
/// Appends the available bytes, `most` at most, to `into`. Throws SystemError for errors other than
/// would-block.
[[nodiscard]] ReadResult read_some(int fd, std::string& into, std::size_t most, const char* what);
/// Reads up to the end, from a blocking descriptor. Throws ProtocolError beyond `limit` bytes.
[[nodiscard]] std::string read_all(int fd, std::size_t limit, const char* what);
/// Reads up to the end or the deadline, whichever comes first. Returns `limit` bytes and one read at most.
[[nodiscard]] std::string read_until_end(int fd, Deadline deadline, const char* what,
                                         std::size_t limit = 64UL * 1024);
/// Writes all bytes, and waits as needed, also on a non-blocking descriptor. Throws SystemError: EPIPE for a
/// closed pipe, EFBIG for a file at the limit of file sizes. Neither raises a signal.
void write_all(int fd, std::string_view bytes, const char* what);
/// The same without an exception. Returns false if not all bytes were written.
[[nodiscard]] bool try_write_all(int fd, std::string_view bytes) noexcept;
/// Writes a line of PIPE_BUF bytes at most as soon as the descriptor accepts it. Returns false if the
/// deadline came first; then nothing or a part was written.
[[nodiscard]] bool try_write_line(int fd, std::string_view line, Deadline deadline) noexcept;
/// Writes what the descriptor accepts now, without blocking, and returns the number of bytes; 0: there is no room.
/// The descriptor may be in blocking mode, which stays: other processes may share it. Throws SystemError, EPIPE if
/// the reader has closed it.
[[nodiscard]] std::size_t put_without_blocking(int fd, std::string_view bytes, const char* what);
/// Writes as much as a non-blocking descriptor accepts now, and returns the number of bytes.
[[nodiscard]] std::size_t try_put(int fd, std::string_view bytes) noexcept;

/// The same, and tells whether there is more room; removes the written bytes from `bytes`. Throws SystemError for errors
/// other than a lack of room and a reader that has closed its end.
[[nodiscard]] PutResult put_some(int fd, std::string_view& bytes);

/// Makes an anonymous memory file with this content, sealed against every change and positioned at its start.
/// Throws SystemError.
[[nodiscard]] UniqueFd make_sealed_memory_file(const char* name, std::string_view content);
/// Makes a descriptor from which another process reads this content once, up to the end: a memory file, or,
/// if the system refuses one, a pipe that holds all of it. Throws SystemError if neither is possible.
[[nodiscard]] UniqueFd make_readable_once(const char* name, std::string_view content);
/// Reads the content of a memory file that came from another process. Throws ProtocolError if it is no memory
/// file, is not sealed (the sender could still change it), or is larger than `limit`.
[[nodiscard]] std::string read_sealed_memory_file(int fd, std::size_t limit);

}  // namespace ipcm::os
