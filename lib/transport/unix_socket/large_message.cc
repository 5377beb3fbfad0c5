#include "transport/unix_socket/large_message.h"

#include <array>
#include <cstdint>

#include "ipcm/error.h"
#include "os/pipe.h"
#include "wire/frame.h"

namespace ipcm::transport {
namespace {

constexpr std::string_view kMark("\0ipcm\1", 6);
constexpr std::size_t kSizeBytes = 8;

std::string note_of(std::uint64_t size) {
  std::string note(kMark);
  for (std::size_t i = 0; i < kSizeBytes; ++i)
    note.push_back(static_cast<char>(size >> ((kSizeBytes - 1 - i) * 8) & 0xffU));
  return note;
}

}  // namespace

LargeMessage::LargeMessage(std::string_view payload)
    : note_(note_of(payload.size())), memory_(os::make_sealed_memory_file("ipcm message", payload)) {}

os::PutResult LargeMessage::put(int socket) {
  os::Pipe pipe = os::make_pipe();  // only the datagram must keep its write end
  const std::array<int, 2> descriptors{memory_.get(), pipe.write_end.get()};
  const auto result = os::put_datagram(socket, note_, descriptors);
  if (result == os::PutResult::done) receipt_ = std::move(pipe.read_end);
  return result;
}

std::optional<std::string> read_large_message(const os::Datagram& datagram) {
  // Without descriptors it is a plain message, whatever its first bytes are.
  if (datagram.descriptors.empty() && !datagram.descriptors_lost) return std::nullopt;
  if (!datagram.bytes.starts_with(kMark)) return std::nullopt;
  if (datagram.descriptors_lost || datagram.descriptors.size() != 2)
    throw ProtocolError("its descriptors did not arrive; has this process too few left (ulimit -n)?");
  std::string message = os::read_sealed_memory_file(datagram.descriptors[0].get(), wire::kLargestFrame);
  if (datagram.bytes != note_of(message.size()))
    throw ProtocolError("its memory file has another size than it says");
  return message;
}

}  // namespace ipcm::transport
