#include "transport/unix_socket/unix_socket.h"

#include <sys/epoll.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "ipcm/error.h"
#include "os/directory.h"
#include "os/pipe.h"
#include "transport/unix_socket/large_message.h"
#include "transport/unix_socket/protocol.h"

namespace ipcm::transport {
namespace {

/// The datagrams that are read before other callbacks of the loop run.
constexpr int kDatagramsPerTurn = 256;
/// More than the kernel queues in a socket (net.unix.max_dgram_qlen).
constexpr int kLongestQueue = 8192;

/// A socket connected to that of a peer.
class SocketChannel final : public Channel {
 public:
  SocketChannel(const Route& route, std::string peer, os::UniqueFd socket)
      : route_(route),
        peer_(std::move(peer)),
        socket_(std::move(socket)),
        largest_(std::min(UnixSocket::kLargestDatagram, os::largest_datagram(socket_.get()))) {}

  void expect_fits(const std::string& payload) override {
    if (payload.size() <= largest_ || route_.is_ours(peer_)) return;
    throw ProtocolError("a message of " + std::to_string(payload.size()) + " bytes can't be sent to '" +
                        peer_ + "': it is no peer of this library, and those of protocol UnixSocket take " +
                        std::to_string(largest_) + " bytes at most; send less, or use ConnectionUnix");
  }

  Put put(const std::string& payload) override {
    waits_for_reader_ = false;
    if (payload.size() <= largest_) return meaning_of(os::put_datagram(socket_.get(), payload));
    if (receipt_ && !os::is_readable(receipt_.get())) {
      waits_for_reader_ = true;
      return Put::later;
    }
    receipt_.reset();
    // Kept while it waits for room, but not after a failure: then another message may come.
    std::optional<LargeMessage> large = std::exchange(large_, std::nullopt);
    if (!large) large.emplace(payload);
    const auto result = large->put(socket_.get());
    if (result == os::PutResult::done) receipt_ = large->take_receipt();
    if (result == os::PutResult::later) large_ = std::move(large);
    return meaning_of(result);
  }

  [[nodiscard]] Wait waits_for() const override {
    return waits_for_reader_ ? Wait{receipt_.get(), EPOLLIN} : Wait{socket_.get(), EPOLLOUT};
  }

 private:
  static Put meaning_of(os::PutResult result) {
    switch (result) {
      case os::PutResult::done:
        return Put::done;
      case os::PutResult::later:
        return Put::later;
      case os::PutResult::gone:
        break;
    }
    return Put::gone;
  }

  const Route& route_;
  std::string peer_;
  os::UniqueFd socket_;
  std::size_t largest_;
  std::optional<LargeMessage> large_;  // waits for room
  os::UniqueFd receipt_;               // of the last large message
  bool waits_for_reader_ = false;      // which must read that one before the next
};

}  // namespace

UnixSocket::UnixSocket(const JoinRequest& request, Loop& loop, Receiver& receiver)
    : MailboxTransport(request, loop, receiver, unix_socket_protocol(),
                       Route(request.info.route, {.longest_name = longest_socket_name(request.info.route),
                                                  .endpoints = {os::FileKind::socket},
                                                  .ask_endpoint = os::look_at_datagrams}),
                       os::FileKind::socket) {
  join();
}

UnixSocket::~UnixSocket() { leave_silently(); }

os::UniqueFd UnixSocket::make_mailbox(const std::string& file) {
  buffer_ = os::Buffer(kLargestDatagram);
  return os::bind_datagrams_at(route_.directory(), file);
}

std::unique_ptr<Channel> UnixSocket::open_channel(const std::string& peer, const std::string& file) {
  auto socket = os::connect_datagrams_to(route_.directory(), file, kLargestDatagram);
  return socket ? std::make_unique<SocketChannel>(route_, peer, std::move(*socket)) : nullptr;
}

void UnixSocket::take_in(Share share) {
  // "All" means the datagrams that wait now, not those that senders add meanwhile; at most a full
  // socket queue.
  const int most = share == Share::all ? kLongestQueue : kDatagramsPerTurn;
  for (int taken = 0; receiving() && taken < most; ++taken) {
    const auto datagram = os::take_datagram(mailbox(), buffer_.from(0));
    if (!datagram) return;
    take_datagram(*datagram);
  }
}

void UnixSocket::take_datagram(const os::Datagram& datagram) {
  if (!datagram.sender || (datagram.sender->user != os::own_user() && datagram.sender->user != 0)) {
    receiver_.dropped("a datagram of user " +
                      (datagram.sender ? std::to_string(datagram.sender->user) : "?") + " was refused");
    return;
  }
  const std::string origin = "of process " + std::to_string(datagram.sender->pid);
  if (datagram.size > datagram.bytes.size()) {
    receiver_.dropped("a message " + origin + " was dropped: its " + std::to_string(datagram.size) +
                      " bytes are more than the " + std::to_string(kLargestDatagram) +
                      " that this protocol carries");
    return;
  }
  std::optional<std::string> large;
  try {
    large = read_large_message(datagram);
  } catch (const ProtocolError& error) {
    receiver_.dropped("a large message " + origin + " was dropped: " + error.what());
    return;
  }
  const std::string_view payload = large ? std::string_view(*large) : datagram.bytes;
  if (!payload.empty()) take_payload(payload, origin);
}

const Protocol& unix_socket_protocol() {
  static const DirectoryProtocolOf<UnixSocket> protocol(
      {.name = "UnixSocket",
       .summary = "datagram sockets in a directory; simple, no broker",
       .keeps_messages = false,
       .endpoints = {os::FileKind::socket}});
  return protocol;
}

}  // namespace ipcm::transport
