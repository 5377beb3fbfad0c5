#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/bus.h"
#include "ipcm/message.h"
#include "ipcm/statistics.h"

namespace ipcm {

namespace bus {
class Member;
}

/// While it lives, what Client::send_message() and try_message() are given may be gathered, peer by peer, so
/// that many small messages cost one system call:
///
///   auto batch = client.batch();
///   for (const Reading& reading : readings) client.send_message("sink", reading);
///   batch.flush();  // throws what send_message() would
///
/// It goes out with flush(), at the end of this object, before anything waits or asks (wait_for_messages(),
/// sync_request()), and when 64 KiB are gathered for one peer. What is sent otherwise goes out at once,
/// behind what is gathered for that peer: requests, answers, broadcasts, messages of more than 8 KiB. Nothing
/// goes out by itself meanwhile. Order is kept. On protocols that gain nothing by it (all but ConnectionUnix)
/// each message goes out at once, as without.
///
/// A peer that is not there shows when send_message() is called; one that has gone since, when the batch goes
/// out: flush(), or the call that sends it, throws PeerGone and says how many messages that were. The end of
/// the object does not throw: messages that could not be sent are counted as dropped() and told to
/// on_diagnostic(). It blocks as long as flush() does: while a receiver's socket is full, at most 60 s for
/// each. Call flush() where a lost message matters.
///
/// May be nested: each end sends everything. The Client may be moved meanwhile; when it leaves the bus, what
/// is gathered goes out. Inert in a forked child, where what was gathered stays the parent's.
class Batch {
 public:
  Batch(Batch&& other) noexcept;
  Batch& operator=(Batch&&) = delete;
  ~Batch();
  /// Sends what is gathered, for all peers. If it fails for one, those of the others are out all the same.
  void flush();

 private:
  friend class Client;
  explicit Batch(std::shared_ptr<bus::Member> member);
  std::shared_ptr<bus::Member> member_;
};

/// A named connection to a bus.
///
/// A move-only value that belongs to one thread at a time. Nothing runs behind its back: sockets are served
/// inside the calls here, or in dispatch() when fd() is readable. In a forked child it is inert: destroying
/// it is silent, using it throws UsageError. All calls throw ipcm::Error; those that block say how long.
class Client {
 public:
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  /// Leaves the bus like disconnect(), but silently and at once; messages not yet read are dropped.
  ~Client();

  [[nodiscard]] const std::string& id() const;
  [[nodiscard]] const BusInfo& info() const;

  /// Sends, and returns the message's id. Blocks while the receiver's socket is full (at most 60 s, then
  /// Timeout). Throws PeerGone that names an unknown or dead peer.
  std::string send_message(std::string_view to, const Content& content);
  /// The same without throwing for a peer that can't be reached: false, and the reason.
  bool try_message(std::string_view to, const Content& content, std::string* why = nullptr);
  /// From now on, and as long as the result lives, messages are gathered and sent together; see Batch.
  [[nodiscard]] Batch batch();
  /// To every other peer. Peers that vanish meanwhile are passed over.
  void broadcast(const Content& content);

  /// What has arrived; never blocks.
  [[nodiscard]] std::vector<Message> get_messages();
  /// The same, and waits for the first one. Empty: `limit` passed.
  [[nodiscard]] std::vector<Message> wait_for_messages(Duration limit = kNoLimit);

  /// Puts messages back: they come again with the next get_messages(), in front of others; also to whoever
  /// joins next under this name, when this client has left, or its process has become another program by
  /// exec. They count as not read.
  void requeue_message(const Message& message);
  void requeue_messages(const std::vector<Message>& messages);

  /// The others on the bus, sorted. A peer whose process is dead is not among them.
  [[nodiscard]] std::vector<std::string> peers();
  [[nodiscard]] bool peer_exists(std::string_view name);
  /// Whether it can receive now; with a limit, waits for that on the event.
  [[nodiscard]] bool peer_active(std::string_view name);
  [[nodiscard]] bool peer_active(std::string_view name, Duration limit);
  [[nodiscard]] std::optional<Pid> peer_pid(std::string_view name);

  /// What was sent and read under this name, also before this client had it.
  [[nodiscard]] Statistics statistics() const;
  /// The same of all who have left the bus, by name.
  [[nodiscard]] std::map<std::string, Statistics> all_statistics();
  /// Messages queued because the receiver was slow.
  [[nodiscard]] std::size_t pending_sends() const;
  /// Whether a message to that peer would go out at once.
  [[nodiscard]] bool can_send_to(std::string_view peer) const;

  /// Leaves the bus. Unread messages go to `handler` (terminate messages left out); without one, unread
  /// messages are an Error "messages waiting at disconnect for NAME", thrown after the bus was left. A second
  /// call does nothing.
  void disconnect(const std::function<void(const Message&)>& handler = {});

  /// Leaves the bus for a while: messages for this name wait until it is taken up again with
  /// ipcm_reconnect(), by this process or another one; with a limit, not longer. Throws BusError on a
  /// protocol that keeps no messages, ConnectionUnix among them; then the client is still there.
  void suspend();
  void suspend(Duration expires_in);
  void suspend(std::chrono::system_clock::time_point expires_at);

  /// For somebody else's event loop: when fd() is readable, dispatch() takes what is there, without blocking.
  /// The descriptor is borrowed and lives as long as the Client.
  [[nodiscard]] int fd() const;
  void dispatch();

  /// Waiting begins with looking again and again for this long, whenever something has just come: see
  /// ServiceOptions::spin. Throws UsageError beyond a second.
  void spin(Duration longest);

  /// Who is told of bytes and messages that had to be dropped; by default they are counted and nothing more.
  void on_diagnostic(Diagnostics tell);
  [[nodiscard]] std::uint64_t dropped() const;

  // For the library itself.
  explicit Client(std::shared_ptr<bus::Member>);
  [[nodiscard]] bus::Member& member() const;
  [[nodiscard]] const std::shared_ptr<bus::Member>& shared_member() const;

 private:
  std::shared_ptr<bus::Member> member_;
};

/// Joins a bus under a name of its own. Throws BusError if there is no such bus, NameTaken if a live process
/// has the name; leftovers of a dead one are cleared away. A name may be any bytes but NUL, and not begin
/// with `_`.
[[nodiscard]] Client ipcm_connect(std::string_view name, const BusInfo& info);
[[nodiscard]] Client ipcm_connect(std::string_view name, std::string_view info);
/// Takes up a name that was suspended, with the messages that wait for it; also that of a process that died.
/// Where nothing waits it is the same as ipcm_connect(). Throws NameTaken while the other process lives.
[[nodiscard]] Client ipcm_reconnect(std::string_view name, const BusInfo& info);
[[nodiscard]] Client ipcm_reconnect(std::string_view name, std::string_view info);

}  // namespace ipcm
