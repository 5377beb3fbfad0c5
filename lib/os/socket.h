#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"
#include "os/clock.h"
#include "os/descriptor.h"
#include "os/directory.h"
#include "os/pipe.h"

namespace ipcm::os {

/// A listening stream socket at `directory`/`name`. Throws SystemError (EADDRINUSE if the name is there).
[[nodiscard]] UniqueFd listen_at(const Directory& directory, const std::string& name);

/// Connects to the one at `directory`/`name`. nullopt: nobody listens there (no such name, or refused).
/// Blocks only while the listener's queue is full, until the deadline, then Timeout. The socket is
/// non-blocking.
[[nodiscard]] std::optional<UniqueFd> connect_to(const Directory& directory, const std::string& name,
                                                 Deadline deadline);

/// Takes one waiting connection, non-blocking. When no descriptor is to be had, the waiting connection is
/// refused instead of left, where it would wake us for ever.
struct Accepted {
  UniqueFd socket;       ///< Empty: none waits, or it was not to be had.
  bool refused = false;  ///< One was refused.
  int error = 0;         ///< errno of a call that failed otherwise: it may work later.
};
[[nodiscard]] Accepted accept_from(int listener, UniqueFd& reserve);
/// The descriptor that accept_from() keeps for that case.
[[nodiscard]] UniqueFd make_reserve();

/// Who is at the other end of a stream socket: as of its connect().
struct PeerIdentity {
  Pid pid = 0;
  unsigned user = 0;
};
[[nodiscard]] std::optional<PeerIdentity> identity_of_peer(int socket);

enum class SendResult { some, later, closed };
/// Sends from `bytes` what the kernel takes now; `sent` tells how much. No signal.
[[nodiscard]] SendResult send_some(int socket, std::string_view bytes, std::size_t* sent);
/// The same for pieces in one call, as if they were one; of more than kMostPieces the rest is left.
inline constexpr std::size_t kMostPieces = 64;
[[nodiscard]] SendResult send_some(int socket, std::span<const std::string_view> pieces, std::size_t* sent);
/// The same, and a copy of `descriptor` with the first byte.
[[nodiscard]] SendResult send_some(int socket, std::string_view bytes, int descriptor, std::size_t* sent);
/// Reads at most into.size() bytes; `got` tells how many. A reset connection is `end`.
[[nodiscard]] ReadResult receive_some(int socket, std::span<char> into, std::size_t* got);
/// A descriptor that came with bytes of a stream.
struct Passed {
  UniqueFd descriptor;  ///< Close-on-exec.
  bool lost = false;    ///< One was sent, and this process has no number left for it.
};
/// The same for who expects descriptors; without it, the kernel closes what comes. `passed` changes only when
/// one comes, always the last: no read goes beyond the bytes that it was sent with.
[[nodiscard]] ReadResult receive_some(int socket, std::span<char> into, std::size_t* got, Passed& passed);

/// How many bytes have arrived on a stream and were not read.
[[nodiscard]] std::size_t bytes_waiting(int socket) noexcept;

// ---- datagrams between members of a bus

/// A datagram socket bound at `directory`/`name`, non-blocking. Each datagram that it gets comes with who
/// sent it. Throws SystemError (EADDRINUSE if the name is there).
[[nodiscard]] UniqueFd bind_datagrams_at(const Directory& directory, const std::string& name);
/// A socket that sends to the one bound at `directory`/`name`, non-blocking, with room for a datagram of
/// `largest` bytes where the kernel allows that. nullopt: nobody has a datagram socket open there.
[[nodiscard]] std::optional<UniqueFd> connect_datagrams_to(const Directory& directory,
                                                           const std::string& name, std::size_t largest);
/// What such a socket sends at most in one datagram.
[[nodiscard]] std::size_t largest_datagram(int socket);

/// Sends one datagram, and copies of `descriptors` (2 at most) with it. No signal.
[[nodiscard]] PutResult put_datagram(int socket, std::string_view bytes,
                                     std::span<const int> descriptors = {});

struct Datagram {
  std::string_view bytes;              ///< What there was room for.
  std::size_t size = 0;                ///< How long it was.
  std::optional<PeerIdentity> sender;  ///< As the kernel knows it, when it was sent.
  std::vector<UniqueFd> descriptors;   ///< Close-on-exec; 2 at most.
  bool descriptors_lost = false;       ///< There were more, or this process has no numbers left for them.
};
/// The next datagram, its bytes in `into`. nullopt: none is there.
[[nodiscard]] std::optional<Datagram> take_datagram(int socket, std::span<char> into);

/// One datagram to a path or an abstract name ("@…"), as systemd's notification sockets want it. errno, or 0.
[[nodiscard]] int send_datagram(const std::string& address, std::string_view bytes) noexcept;

}  // namespace ipcm::os
