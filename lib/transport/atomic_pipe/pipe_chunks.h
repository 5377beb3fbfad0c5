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

// Messages in a pipe with many writers, cut as the Atomic::Pipe of the reference cuts them: into chunks so
// small that the kernel never mixes two of them. Each chunk has a header of four numbers in the machine's
// byte order:
//   int32 pid, int32 thread, uint32 number (counts down to 0), uint32 size (of the data after the header)
// The chunks of one (pid, thread) belong together, up to number 0.

inline constexpr std::size_t kChunkHeader = 16;
inline constexpr std::size_t kLargestChunk = 4096;  // PIPE_BUF
inline constexpr std::size_t kLargestChunkData = kLargestChunk - kChunkHeader;
/// The largest valid thread number.
inline constexpr std::int32_t kLargestThread = (1 << 24) - 1;

struct ChunkWriter {
  Pid pid = 0;
  std::int32_t thread = 0;
  // NOLINTNEXTLINE(modernize-use-nullptr): a false finding of clang-tidy 14
  friend auto operator<=>(const ChunkWriter&, const ChunkWriter&) = default;
};

/// Returns the number of chunks of a message; an empty message has one.
[[nodiscard]] std::size_t chunk_count(std::size_t message_size);
/// Writes the chunk of `message` with that number; the result is a part of `into`.
[[nodiscard]] std::string_view write_chunk(std::span<char, kLargestChunk> into, ChunkWriter writer,
                                           std::string_view message, std::size_t number);

/// Joins the bytes of a pipe to messages. Memory grows with the bytes that arrive, not with the size that a
/// header announces; at most wire::kLargestFrame for a writer, and kMostWriters of them.
class ChunkReader {
 public:
  static constexpr std::size_t kMostWriters = 1024;

  /// Returns room for at least `least` bytes; report the bytes read with filled().
  [[nodiscard]] std::span<char> room(std::size_t least);
  void filled(std::size_t count) { used_ += count; }

  enum class What {
    more,       ///< no whole chunk is left
    message,    ///< `message` is one
    too_large,  ///< `writer` sends more than the limit: its chunks are skipped, up to the last
    restarted,  ///< `writer` began a new message; `lost` bytes of the one before are dropped
    crowded,    ///< too many writers at once; `lost` bytes of `writer`, the quietest, are dropped
    senseless,  ///< there is no valid header
  };
  struct Event {
    What what = What::more;
    ChunkWriter writer = {};
    std::string message = {};
    std::size_t lost = 0;
  };
  [[nodiscard]] Event next();

  [[nodiscard]] bool in_mid_chunk() const { return at_ < used_; }
  /// Drops the bytes that were read and not used, and all incomplete messages.
  void forget_all();
  /// Returns the processes whose messages are incomplete.
  [[nodiscard]] std::set<Pid> unfinished() const;
  /// Drops the incomplete messages of a process. Returns the number of bytes.
  [[nodiscard]] std::size_t forget(Pid pid);
  /// The bytes of all incomplete messages.
  [[nodiscard]] std::size_t unfinished_bytes() const { return unfinished_bytes_; }
  /// Drops the largest incomplete message and skips the rest of it. Returns its writer and its number of
  /// bytes.
  std::pair<ChunkWriter, std::size_t> forget_largest();

 private:
  struct Open {
    std::string data;
    std::uint32_t next = 0;     // the number of the next chunk
    bool passed_over = false;   // too large
    std::uint64_t touched = 0;  // when its last chunk came
  };
  /// Takes one chunk. Returns whether it made an event.
  bool take(ChunkWriter writer, std::uint32_t number, std::string_view data, Event& event);

  os::Buffer buffer_;  // filled up to used_
  std::size_t at_ = 0;
  std::size_t used_ = 0;
  std::map<ChunkWriter, Open> open_;
  std::size_t unfinished_bytes_ = 0;
  std::uint64_t touches_ = 0;
};

}  // namespace ipcm::transport
