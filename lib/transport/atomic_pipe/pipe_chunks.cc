#include "transport/atomic_pipe/pipe_chunks.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "wire/frame.h"

namespace ipcm::transport {
namespace {

struct ChunkHeader {
  std::int32_t pid = 0;
  std::int32_t thread = 0;
  std::uint32_t number = 0;
  std::uint32_t size = 0;
};
static_assert(sizeof(ChunkHeader) == kChunkHeader);

/// The kernel gives no higher pids (PID_MAX_LIMIT).
constexpr std::int32_t kLargestPid = 4 * 1024 * 1024;
/// 64 GiB in chunks: more than any writer sends, and less than most garbage announces.
constexpr std::uint32_t kLargestNumber = 1U << 24;

bool makes_sense(const ChunkHeader& header) {
  return header.pid > 0 && header.pid <= kLargestPid && header.thread >= 0 &&
         header.thread <= kLargestThread && header.number <= kLargestNumber &&
         header.size <= kLargestChunkData && (header.size > 0 || header.number == 0);
}

}  // namespace

std::size_t chunk_count(std::size_t message_size) {
  return std::max<std::size_t>(1, (message_size + kLargestChunkData - 1) / kLargestChunkData);
}

std::string_view write_chunk(std::span<char, kLargestChunk> into, ChunkWriter writer,
                             std::string_view message, std::size_t number) {
  const std::size_t parts = chunk_count(message.size());
  assert(number < parts && writer.thread >= 0 && writer.thread <= kLargestThread);
  const std::string_view data = message.substr((parts - 1 - number) * kLargestChunkData, kLargestChunkData);
  const ChunkHeader header{writer.pid, writer.thread, static_cast<std::uint32_t>(number),
                           static_cast<std::uint32_t>(data.size())};
  std::memcpy(into.data(), &header, sizeof header);
  data.copy(into.data() + kChunkHeader, data.size());
  return {into.data(), kChunkHeader + data.size()};
}

std::span<char> ChunkReader::room(std::size_t least) {
  // The rest is smaller than a chunk: moving it costs nothing.
  std::copy(buffer_.data() + at_, buffer_.data() + used_, buffer_.data());
  used_ -= at_;
  at_ = 0;
  if (buffer_.size() - used_ < least) buffer_.resize(used_ + least, used_);
  return buffer_.from(used_);
}

ChunkReader::Event ChunkReader::next() {
  Event event;
  while (used_ - at_ >= kChunkHeader) {
    ChunkHeader header;
    std::memcpy(&header, buffer_.data() + at_, sizeof header);
    if (!makes_sense(header)) {
      event.what = What::senseless;
      return event;
    }
    if (used_ - at_ - kChunkHeader < header.size) break;
    const auto data = buffer_.view(at_ + kChunkHeader, header.size);
    const bool tells = take({header.pid, header.thread}, header.number, data, event);
    if (event.what != What::restarted && event.what != What::crowded) at_ += kChunkHeader + header.size;
    if (tells) return event;
    event = {};
  }
  return event;
}

bool ChunkReader::take(ChunkWriter writer, std::uint32_t number, std::string_view data, Event& event) {
  event.writer = writer;
  auto found = open_.find(writer);
  if (found != open_.end() && found->second.next != number) {
    // The writer gave up its message, or became another program. This chunk is the first of a new message,
    // and is examined again as such.
    const Open before = std::move(found->second);
    unfinished_bytes_ -= before.data.size();
    open_.erase(found);
    event.what = What::restarted;
    event.lost = before.data.size();
    return true;
  }
  if (found == open_.end()) {
    if (number == 0) {
      event.what = What::message;
      event.message = data;
      return true;
    }
    if (open_.size() >= kMostWriters) {
      const auto quietest = std::min_element(open_.begin(), open_.end(), [](const auto& a, const auto& b) {
        return a.second.touched < b.second.touched;
      });
      event.what = What::crowded;
      event.writer = quietest->first;
      event.lost = quietest->second.data.size();
      unfinished_bytes_ -= event.lost;
      open_.erase(quietest);
      return true;
    }
    found = open_.emplace(writer, Open{}).first;
  }
  Open& open = found->second;
  open.touched = ++touches_;
  open.next = number == 0 ? 0 : number - 1;
  // All chunks but the last are full, so the first one shows the size of the message; a writer with smaller
  // chunks is recognised later.
  const bool too_large =
      !open.passed_over &&
      open.data.size() + data.size() + std::size_t{number == 0 ? 0 : number - 1} * kLargestChunkData >
          wire::kLargestFrame;
  if (too_large) {
    open.passed_over = true;
    unfinished_bytes_ -= open.data.size();
    open.data = {};
    event.what = What::too_large;
  }
  if (!open.passed_over) {
    open.data.append(data);
    unfinished_bytes_ += data.size();
  }
  if (number == 0) {
    if (!open.passed_over) {
      unfinished_bytes_ -= open.data.size();
      event.what = What::message;
      event.message = std::move(open.data);
    }
    open_.erase(found);
  }
  return event.what != What::more;
}

void ChunkReader::forget_all() {
  at_ = used_ = 0;
  open_.clear();
  unfinished_bytes_ = 0;
}

std::set<Pid> ChunkReader::unfinished() const {
  std::set<Pid> all;
  for (const auto& [writer, open] : open_) all.insert(writer.pid);
  return all;
}

std::pair<ChunkWriter, std::size_t> ChunkReader::forget_largest() {
  const auto largest = std::max_element(open_.begin(), open_.end(), [](const auto& a, const auto& b) {
    return a.second.data.size() < b.second.data.size();
  });
  if (largest == open_.end()) return {};
  const std::size_t lost = std::exchange(largest->second.data, {}).size();
  largest->second.passed_over = true;
  unfinished_bytes_ -= lost;
  return {largest->first, lost};
}

std::size_t ChunkReader::forget(Pid pid) {
  std::size_t lost = 0;
  for (auto at = open_.begin(); at != open_.end();) {
    if (at->first.pid == pid) {
      lost += at->second.data.size();
      unfinished_bytes_ -= at->second.data.size();
      at = open_.erase(at);
    } else {
      ++at;
    }
  }
  return lost;
}

}  // namespace ipcm::transport
