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

/// Makes a listening stream socket at `directory`/`name`, which appears once connections are accepted. Throws SystemError
/// (EEXIST if the name exists).
[[nodiscard]] UniqueFd listen_at(const Directory& directory, const std::string& name);

/// Connects to the stream socket at `directory`/`name`. Returns nullopt if no process listens there (no such
/// name, or refused). Blocks only while the listener's queue is full, until the deadline, then throws
/// Timeout. The socket is non-blocking.
[[nodiscard]] std::optional<UniqueFd> connect_to(const Directory& directory, const std::string& name,
                                                 Deadline deadline);

/// Accepts one pending connection, non-blocking. If no descriptor is free, refuses the connection: a
/// connection that stays pending would wake the loop for ever.
struct Accepted {
  UniqueFd socket;       ///< Empty: none is pending, or it could not be accepted.
  bool refused = false;  ///< A connection was refused.
  int error = 0;         ///< errno of another failure; a later call may succeed.
};
[[nodiscard]] Accepted accept_from(int listener, UniqueFd& reserve);
/// Opens the descriptor that accept_from() keeps in reserve for that case.
[[nodiscard]] UniqueFd make_reserve();

/// Returns the process at the other end of a stream socket, as of its connect().
struct PeerIdentity {
  Pid pid = 0;
  unsigned user = 0;
};
[[nodiscard]] std::optional<PeerIdentity> identity_of_peer(int socket);

enum class SendResult { some, later, closed };
/// Sends as much of `bytes` as the kernel accepts now, and stores the number in `sent`. Raises no signal.
[[nodiscard]] SendResult send_some(int socket, std::string_view bytes, std::size_t* sent);
/// The same for several pieces in one call, as if they were one. Pieces beyond kMostPieces are not sent.
inline constexpr std::size_t kMostPieces = 64;
[[nodiscard]] SendResult send_some(int socket, std::span<const std::string_view> pieces, std::size_t* sent);
/// The same, with a copy of `descriptor` on the first byte.
[[nodiscard]] SendResult send_some(int socket, std::string_view bytes, int descriptor, std::size_t* sent);
/// Reads at most into.size() bytes; `got` tells how many. A reset connection is `end`.
[[nodiscard]] ReadResult receive_some(int socket, std::span<char> into, std::size_t* got);
/// A descriptor that arrived with bytes of a stream.
struct Passed {
  UniqueFd descriptor;  ///< Close-on-exec.
  bool lost = false;    ///< One was sent, but this process has no free descriptor for it.
};
/// The same, for callers that expect descriptors; without this, the kernel closes them. Stores in `passed`
/// the last descriptor that arrived, and leaves it unchanged if none did: no read goes beyond the bytes that
/// a descriptor was sent with.
[[nodiscard]] ReadResult receive_some(int socket, std::span<char> into, std::size_t* got, Passed& passed);

/// Returns the number of bytes that have arrived on a stream and were not read.
[[nodiscard]] std::size_t bytes_waiting(int socket) noexcept;

// ---- datagrams between members of a bus

/// Makes a datagram socket bound at `directory`/`name`, non-blocking. The kernel adds the sender to each
/// datagram. Throws SystemError (EADDRINUSE if the name exists).
[[nodiscard]] UniqueFd bind_datagrams_at(const Directory& directory, const std::string& name);
/// Makes a socket that sends to the datagram socket bound at `directory`/`name`, non-blocking, with room for
/// a datagram of `largest` bytes if the kernel allows that. Returns nullopt if no process has a datagram
/// socket open there.
[[nodiscard]] std::optional<UniqueFd> connect_datagrams_to(const Directory& directory,
                                                           const std::string& name, std::size_t largest);
/// Returns the size of the largest datagram that such a socket can send.
[[nodiscard]] std::size_t largest_datagram(int socket);

/// Sends one datagram, with copies of `descriptors` (2 at most). Raises no signal.
[[nodiscard]] PutResult put_datagram(int socket, std::string_view bytes,
                                     std::span<const int> descriptors = {});

struct Datagram {
  std::string_view bytes;              ///< The bytes that fitted into the buffer.
  std::size_t size = 0;                ///< The size of the whole datagram.
  std::optional<PeerIdentity> sender;  ///< According to the kernel, as of the send.
  std::vector<UniqueFd> descriptors;   ///< Close-on-exec; 2 at most.
  bool descriptors_lost = false;       ///< There were more, or this process has no free descriptors for them.
};
/// Receives the next datagram into `into`. Returns nullopt if none is pending.
[[nodiscard]] std::optional<Datagram> take_datagram(int socket, std::span<char> into);

/// Sends one datagram to a path or an abstract name ("@…"), for systemd's notification socket. Returns errno,
/// or 0.
[[nodiscard]] int send_datagram(const std::string& address, std::string_view bytes) noexcept;

/// A datagram socket that other processes reach through a descriptor, /proc/PID/fd/N: its file is gone, so nothing is left
/// behind when the process is killed. The kernel allows that path to processes of the same user; a process of any user can
/// inherit `place`, and then use /proc/self/fd/N.
struct UnnamedSocket {
  UniqueFd socket;  ///< Non-blocking; the kernel adds the sender to each datagram.
  UniqueFd place;   ///< Where senders connect to, an O_PATH descriptor.
  [[nodiscard]] std::string address() const;
};
/// Makes one, by way of a file in the runtime directory. Throws SystemError.
[[nodiscard]] UnnamedSocket bind_unnamed_datagrams();

/// Whether a process accepts TCP connections at this port of the loopback addresses. Does not wait: a listener whose
/// queue is full counts as none.
[[nodiscard]] bool is_port_open(unsigned port) noexcept;

}  // namespace ipcm::os
