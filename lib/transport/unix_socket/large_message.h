#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "os/descriptor.h"
#include "os/socket.h"

namespace ipcm::transport {

// A message that no datagram has room for, from one of ours to one of ours: a datagram with two descriptors.
//   bytes        NUL "ipcm" 01, then the message's size in eight bytes, most significant first
//   descriptors  a sealed memory file with the message; the write end of a pipe, the receipt
// The receiver closes the receipt when it has the message, as the kernel does when nobody will ever read it:
// so the sender learns when the next large one may go out, and no more than one waits in memory for each
// reader. A sender that dies leaves nothing behind but a whole message.

class LargeMessage {
 public:
  explicit LargeMessage(std::string_view payload);
  /// The same content again and again, until it is done.
  [[nodiscard]] os::PutResult put(int socket);
  /// After it is done: hangs up when the reader has the message. Reading finds the end.
  [[nodiscard]] os::UniqueFd take_receipt() { return std::move(receipt_); }

 private:
  std::string note_;
  os::UniqueFd memory_, receipt_;
};

/// nullopt: that datagram is none. Throws ProtocolError for one that is broken.
[[nodiscard]] std::optional<std::string> read_large_message(const os::Datagram& datagram);

}  // namespace ipcm::transport
