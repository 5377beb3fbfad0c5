#pragma once

#include <string>

#include "os/buffer.h"
#include "os/socket.h"
#include "transport/directory/mailbox_transport.h"

namespace ipcm::transport {

// Every member has a datagram socket at ROUTE/N, which only it reads; one datagram is one message. Senders
// connect an unnamed socket to it. Larger messages go to members of ours only: large_message.h.

class UnixSocket final : public MailboxTransport {
 public:
  UnixSocket(const JoinRequest& request, Loop& loop, Receiver& receiver);
  ~UnixSocket() override;

  /// The largest datagram that readers of the reference accept.
  static constexpr std::size_t kLargestDatagram = 65536;

 private:
  [[nodiscard]] os::UniqueFd make_mailbox(const std::string& file) override;
  [[nodiscard]] std::unique_ptr<Channel> open_channel(const std::string& peer,
                                                      const std::string& file) override;
  void take_in(Share share) override;
  void take_datagram(const os::Datagram& datagram);

  os::Buffer buffer_;
};

}  // namespace ipcm::transport
