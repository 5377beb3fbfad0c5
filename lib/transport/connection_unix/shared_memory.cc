#include "transport/connection_unix/shared_memory.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include "ipcm/error.h"
#include "os/memory.h"

namespace ipcm::transport {
namespace {

/// Rounds up to whole pages, so that no two messages share one.
constexpr std::size_t kPage = 4096;

std::size_t in_pages(std::size_t size) { return (size + kPage - 1) / kPage * kPage; }

/// The counter of messages that the reader has taken.
std::atomic_ref<std::uint64_t> count_in(const os::Mapping& mapping) {
  static_assert(std::atomic_ref<std::uint64_t>::is_always_lock_free, "it works between processes");
  return std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(mapping.bytes().data()));
}

}  // namespace

MemoryWriter::MemoryWriter()
    : file_(os::make_shared_memory_file("ipcm messages", kSharedMemoryHead + kSharedMemory)),
      memory_(file_.get(), 0, kSharedMemoryHead + kSharedMemory, os::Mapping::Access::read_write) {
  if (!os::reserve_memory(file_.get(), 0, kPage)) throw SystemError(ENOMEM, "share memory with a peer");
}

void MemoryWriter::forget_taken() noexcept {
  const std::uint64_t taken = std::min(count_in(memory_).load(std::memory_order_acquire), put_);
  while (!unread_.empty() && put_ - unread_.size() < taken) unread_.pop_front();
}

std::optional<std::size_t> MemoryWriter::find_room(std::size_t size) const {
  // Starts at the front again when all messages were read: its pages, and the caches of the processor, are
  // warm.
  if (unread_.empty()) return size <= kSharedMemory ? std::optional<std::size_t>(0) : std::nullopt;
  const std::size_t first = unread_.front().offset;
  const std::size_t end = unread_.back().offset + unread_.back().size;
  if (end > first) {
    if (end < kMostUnread && size <= kMostUnread - end) return end;
    return size <= first ? std::optional<std::size_t>(0) : std::nullopt;
  }
  return size <= first - end ? std::optional<std::size_t>(end) : std::nullopt;
}

std::optional<Place> MemoryWriter::put(std::string_view bytes) {
  if (bytes.empty() || memory_.bytes().empty()) return std::nullopt;
  forget_taken();
  const std::size_t size = in_pages(bytes.size());
  const auto offset = find_room(size);
  if (!offset) return std::nullopt;
  if (*offset + size > reserved_) {
    // Reserve first: touching a page that the system cannot provide raises SIGBUS.
    if (!os::reserve_memory(file_.get(), kSharedMemoryHead + reserved_, *offset + size - reserved_))
      return std::nullopt;
    reserved_ = *offset + size;
  }
  os::copy_to(memory_.bytes().data() + kSharedMemoryHead + *offset, bytes);
  unread_.push_back({*offset, size});
  ++put_;
  used_ = true;
  return Place{*offset, bytes.size()};
}

MemoryWriter::Rest MemoryWriter::rest() noexcept {
  if (std::exchange(used_, false)) return Rest::used;
  if (reserved_ == 0 || memory_.bytes().empty()) return Rest::rests;
  forget_taken();
  if (!unread_.empty()) return Rest::unread;
  os::give_back_memory(file_.get(), kSharedMemoryHead, reserved_);
  reserved_ = 0;
  return Rest::rests;
}

MemoryReader::MemoryReader(os::UniqueFd file, std::uint64_t size) {
  if (size == 0 || size > kSharedMemory)
    throw ProtocolError("it has " + std::to_string(size) + " bytes for messages, and may have " +
                        std::to_string(kSharedMemory));
  os::expect_shared_memory_file(file.get(), kSharedMemoryHead + size);
  head_ = os::Mapping(file.get(), 0, kPage, os::Mapping::Access::read_write);
  memory_ = os::Mapping(file.get(), kSharedMemoryHead, size, os::Mapping::Access::read);
}

wire::Body MemoryReader::take(Place place) {
  const auto memory = memory_.bytes();
  if (place.offset > memory.size() || place.size > memory.size() - place.offset)
    throw ProtocolError("a message at " + std::to_string(place.offset) + ", of " +
                        std::to_string(place.size) + " bytes, is not in its memory file");
  auto message = wire::Body::copy_of(std::string_view(memory.data() + place.offset, place.size));
  count_in(head_).store(++taken_, std::memory_order_release);
  return message;
}

}  // namespace ipcm::transport
