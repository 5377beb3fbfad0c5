#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "ipcm/basics.h"
#include "os/buffer.h"

namespace ipcm::transport {

// Messages in a pipe that many write to, as the reference's Atomic::Pipe cuts them: into parts so small that
// the kernel lets no two of them mix. Each part has a header of four numbers, as the machine keeps them:
//   int32 pid, int32 thread, uint32 number (counts down to 0), uint32 size (of what follows)
// What one (pid, thread) writes belongs together, up to number 0.

inline constexpr std::size_t kChunkHeader = 16;
inline constexpr std::size_t kLargestChunk = 4096;  // PIPE_BUF
inline constexpr std::size_t kLargestChunkData = kLargestChunk - kChunkHeader;
/// Above this, a thread number is none.
inline constexpr std::int32_t kLargestThread = (1 << 24) - 1;

struct ChunkWriter {
  Pid pid = 0;
  std::int32_t thread = 0;
  friend auto operator<=>(const ChunkWriter&, const ChunkWriter&) = default;
};

/// How many parts a message is cut into; also an empty one has one.
[[nodiscard]] std::size_t chunk_count(std::size_t message_size);
/// Writes the part of `message` with that number; the result is a piece of `into`.
[[nodiscard]] std::string_view write_chunk(std::span<char, kLargestChunk> into, ChunkWriter writer,
                                           std::string_view message, std::size_t number);

/// Puts messages together from the bytes of a pipe. Memory grows with what has arrived, not with what a
/// header announces; at most kLargestFrame for a writer, and kMostWriters of them.
class ChunkReader {
 public:
  static constexpr std::size_t kMostWriters = 1024;

  /// Room for at least `least` bytes; what is then filled is told by filled().
  [[nodiscard]] std::span<char> room(std::size_t least);
  void filled(std::size_t count) { used_ += count; }

  enum class What {
    more,       ///< no whole part is left
    message,    ///< `message` is one
    too_large,  ///< `writer` is sending more than the limit: its parts are passed over, up to the last
    restarted,  ///< `writer` began anew; `lost` bytes of what it had sent before are dropped
    crowded,    ///< too many write at once; `lost` bytes of `writer`, the quietest, are dropped
    senseless,  ///< what stands here is no header
  };
  struct Event {
    What what = What::more;
    ChunkWriter writer = {};
    std::string message = {};
    std::size_t lost = 0;
  };
  [[nodiscard]] Event next();

  [[nodiscard]] bool in_mid_chunk() const { return at_ < used_; }
  /// What was read and not yet used; and all that is unfinished.
  void forget_all();
  /// Whose messages are unfinished.
  [[nodiscard]] std::set<Pid> unfinished() const;
  /// Drops what is unfinished of a process; how many bytes that were.
  [[nodiscard]] std::size_t forget(Pid pid);
  /// Of all messages that are unfinished.
  [[nodiscard]] std::size_t unfinished_bytes() const { return unfinished_bytes_; }
  /// Drops the largest of them: whose it was, and how many bytes. The rest of it is passed over.
  std::pair<ChunkWriter, std::size_t> forget_largest();

 private:
  struct Open {
    std::string data;
    std::uint32_t next = 0;     // number of the part to come
    bool passed_over = false;   // too large
    std::uint64_t touched = 0;  // when its last part came
  };
  /// One part; true: there is something to tell.
  bool take(ChunkWriter writer, std::uint32_t number, std::string_view data, Event& event);

  os::Buffer buffer_;  // filled up to used_
  std::size_t at_ = 0;
  std::size_t used_ = 0;
  std::map<ChunkWriter, Open> open_;
  std::size_t unfinished_bytes_ = 0;
  std::uint64_t touches_ = 0;
};

}  // namespace ipcm::transport
