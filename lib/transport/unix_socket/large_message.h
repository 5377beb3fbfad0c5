#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "os/descriptor.h"
#include "os/socket.h"

namespace ipcm::transport {

// A message that is too large for a datagram, between two peers of ours: a datagram with two descriptors.
//   bytes        NUL "ipcm" 01, then the message's size in eight bytes, most significant first
//   descriptors  a sealed memory file with the message; the write end of a pipe, the receipt
// The receiver closes the receipt when it has the message, and the kernel does when no process will read it:
// so the sender learns when the next large one may go out, and no more than one waits in memory for each
// reader. A sender that dies leaves nothing behind but a whole message.

class LargeMessage {
 public:
  explicit LargeMessage(std::string_view payload);
  /// Sends the message. Call it again until it is done.
  [[nodiscard]] os::PutResult put(int socket);
  /// Returns the receipt, after put() is done: its end of file means that the reader has the message.
  [[nodiscard]] os::UniqueFd take_receipt() { return std::move(receipt_); }

 private:
  std::string note_;
  os::UniqueFd memory_, receipt_;
};

/// Returns the message; nullopt: the datagram is an ordinary one. Throws ProtocolError for a damaged one.
[[nodiscard]] std::optional<std::string> read_large_message(const os::Datagram& datagram);

}  // namespace ipcm::transport
