#pragma once

// Example: asks a service that another process has started; $IPCM_INFO names its bus.
//
//     ipcm::Client client = ipcm::ipcm_connect("me", std::getenv("IPCM_INFO"));
//     const auto answer = client.sync_request<std::string>("greeter", "hello", std::chrono::seconds(5));
//     client.disconnect();
//     return static_cast<int>(answer.size());
//
// Two members of one bus; in real life they are two processes:
//
//     ipcm::Guard bus = ipcm::ipcm_spawn();
//     ipcm::Client sender = ipcm::ipcm_connect("sender", bus.info());
//     ipcm::Client reader = ipcm::ipcm_connect("reader", bus.info().text());
//     sender.send_message("reader", "hello");
//     std::size_t bytes = 0;
//     for (const ipcm::Message& message : reader.wait_for_messages(std::chrono::seconds(5)))
//       bytes += message.content.as<std::string>().size();
//     bus.shutdown();  // asks the members to end, and removes the bus
//     return static_cast<int>(bytes);

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
#include "ipcm/requester.h"
#include "ipcm/statistics.h"

namespace ipcm {

namespace bus {
class Member;
}

/// A batch of messages. While it lives, the client may gather the messages of send_message() and
/// try_message(), peer by peer, so that many small messages cost one system call:
///
///   auto batch = client.batch();
///   for (const Reading& reading : readings) client.send_message("sink", reading);
///   batch.flush();  // throws as send_message() does
///
/// The client sends the gathered messages in flush(), at the end of this object, before it waits or sends a
/// request, and when 64 KiB are gathered for one peer; at no other time. Requests, answers, broadcasts and
/// messages of more than 8 KiB are not gathered: the client sends them at once, after the messages that it has
/// gathered for that peer. So the order is kept. On protocols that gain nothing (all but ConnectionUnix) each
/// message is sent at once.
///
/// send_message() throws PeerGone if the peer is not there. If the peer leaves later, flush(), or the call that
/// sends the batch, throws PeerGone and states the number of messages. The destructor does not throw: it counts
/// messages that could not be sent as dropped(), and reports them to on_diagnostic(). Call flush() where a lost
/// message matters. Both block while a receiver's socket is full, at most 60 s for each receiver.
///
/// Batches may be nested: the end of each sends all gathered messages. The client may be moved meanwhile; it
/// sends the batch before it leaves the bus. In a forked child a batch does nothing: the messages stay those of
/// the parent.
class Batch {
 public:
  Batch(Batch&& other) noexcept;
  Batch& operator=(Batch&&) = delete;
  ~Batch();
  /// Sends the gathered messages of all peers. If that fails for one peer, it throws after it has sent the
  /// messages for the others.
  void flush();

 private:
  friend class Client;
  explicit Batch(std::shared_ptr<bus::Member> member);
  std::shared_ptr<bus::Member> member_;
};

using PeerDeltaCallback = std::function<void(const std::map<std::string, int>& delta)>;

/// A member of a bus, with a name. It exchanges messages, and sends requests to services (Requester), no matter
/// which process has started them.
///
/// A move-only value that belongs to one thread at a time. It works only inside its calls: the calls below read
/// and write the sockets, or dispatch() does when fd() is readable. In a forked child it does nothing: its
/// destructor is silent, and its calls throw UsageError. All calls throw ipcm::Error; a call that blocks says
/// so, and for how long.
class Client : public Requester {
 public:
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  /// Leaves the bus at once, without errors. Messages that were not read are lost.
  ~Client() override;

  [[nodiscard]] const std::string& id() const;
  [[nodiscard]] const BusInfo& info() const;

  /// Sends a message, and returns its id. Throws PeerGone if there is no such peer, or its process has ended.
  /// Blocks while the receiver's socket is full or its store is locked, at most 60 s; then it throws Timeout. On
  /// a database server the message may still arrive after that.
  std::string send_message(std::string_view to, const Content& content, const MessageOptions& options = {});
  /// As send_message(), but does not throw if the message can't be sent: returns false, and sets the reason.
  bool try_message(std::string_view to, const Content& content, std::string* why = nullptr,
                   const MessageOptions& options = {});
  /// Begins a batch: while the result lives, messages may be gathered and sent together.
  [[nodiscard]] Batch batch();
  /// Sends a message to every other peer, and returns the result for each of them. Blocks as send_message()
  /// does. Throws UsageError or ProtocolError for a content that the bus can't carry (null, too large, bytes), and
  /// BusError if the bus is gone.
  [[nodiscard]] BroadcastResult broadcast(const Content& content, const MessageOptions& options = {});

  /// Returns the messages that have arrived, without the responses to requests of this client; does not block.
  [[nodiscard]] std::vector<Message> get_messages();
  /// As get_messages(), but waits for the first message. Empty: the limit has passed. Throws BusError if the bus is
  /// removed meanwhile; for a user without a free inotify watch, only the end of the limit ends the wait then.
  [[nodiscard]] std::vector<Message> wait_for_messages(Duration limit = kNoLimit);

  /// Puts messages back: the next get_messages() returns them before others. If this client leaves, or its
  /// process executes another program, the next client with this name gets them. They count as not read.
  void requeue_message(const Message& message);
  void requeue_messages(const std::vector<Message>& messages);

  /// Returns the names of the other peers, sorted, without those whose process has ended.
  [[nodiscard]] std::vector<std::string> peers();
  [[nodiscard]] bool peer_exists(std::string_view name);
  /// Returns whether the peer can receive now. With a limit, waits for that; false: the limit has passed. Throws
  /// BusError if the bus is removed meanwhile.
  [[nodiscard]] bool peer_active(std::string_view name);
  [[nodiscard]] bool peer_active(std::string_view name, Duration limit);
  [[nodiscard]] std::optional<Pid> peer_pid(std::string_view name);

  /// Sets the callback for changes among the peers: +1 for each that has joined, -1 for each that has left since
  /// the last call. From now on, fd() becomes readable after a change, and the library calls back in dispatch(),
  /// get_messages() and the calls that wait (of the Handle or the Service, too, if the client belongs to one). An
  /// empty function ends the callbacks.
  void on_peer_delta(PeerDeltaCallback callback);

  /// Returns the numbers of messages that were sent and read under this name, also by earlier clients.
  [[nodiscard]] Statistics statistics() const;
  /// Returns the same of all peers that have left the bus, by name.
  [[nodiscard]] std::map<std::string, Statistics> all_statistics();
  /// Returns the number of messages that are queued because a receiver is slow.
  [[nodiscard]] std::size_t pending_sends() const;
  /// Returns whether a message to that peer would be sent at once.
  [[nodiscard]] bool can_send_to(std::string_view peer) const;

  /// Leaves the bus. Passes unread messages to `handler`, except those that only ask to terminate. Without a
  /// handler, unread messages are an Error "messages waiting at disconnect for NAME", which is thrown after the
  /// client has left. A second call does nothing.
  void disconnect(const std::function<void(const Message&)>& handler = {});

  /// Leaves the bus for a while: the bus keeps messages for this name until ipcm_reconnect(), in this process or
  /// another one; with a limit, not longer. Throws BusError on a protocol that keeps no messages, such as
  /// ConnectionUnix; then the client has not left.
  void suspend();
  void suspend(Duration expires_in);
  void suspend(std::chrono::system_clock::time_point expires_at);

  /// For an event loop of the caller: when fd() is readable, dispatch() reads, without blocking. The
  /// descriptor is borrowed, and valid as long as the client.
  [[nodiscard]] int fd() const;
  void dispatch();

  /// Sets the time for which a wait polls after an event, before it sleeps; see ServiceOptions::spin. Throws
  /// UsageError for more than 1 s.
  void spin(Duration longest);

  /// Sets the function that is called with a sentence for each message, or bytes, that were dropped. They are
  /// counted in any case.
  void on_diagnostic(Diagnostics tell);
  [[nodiscard]] std::uint64_t dropped() const;

  // For the library itself. A Handle or a Service shares the requests.
  explicit Client(std::shared_ptr<client::PendingRequests> requests);
  [[nodiscard]] const std::shared_ptr<client::PendingRequests>& shared_requests() const;
  [[nodiscard]] bus::Member& member() const;
  [[nodiscard]] const std::shared_ptr<bus::Member>& shared_member() const;

 protected:
  [[nodiscard]] client::PendingRequests& requests() const override;

 private:
  std::shared_ptr<client::PendingRequests> requests_;
};

/// Joins a bus. Throws BusError if there is no such bus, and NameTaken if a running process has the name; the
/// remains of one that has ended are removed. A name is any bytes except NUL, and does not begin with `_`.
[[nodiscard]] Client ipcm_connect(std::string_view name, const BusInfo& info);
[[nodiscard]] Client ipcm_connect(std::string_view name, std::string_view info);
/// Joins a bus without a name of its own, for a program that looks, sends or asks and leaves again: peers do not
/// list it, and can't send to it. Where a protocol returns answers only to a mailbox (all but ConnectionUnix), the
/// client gets one with its first request, and is listed from then on as ipcm-PID-XXXXXX, its id(). wait_for_messages() and suspend() throw UsageError as long as it has no mailbox. Throws BusError if there
/// is no such bus.
[[nodiscard]] Client ipcm_connect_anonymous(const BusInfo& info);
[[nodiscard]] Client ipcm_connect_anonymous(std::string_view info);
/// Joins under a name that was suspended, or whose process died, and gets the messages that the bus has kept for
/// it. If there are none, it is the same as ipcm_connect(). Throws NameTaken while another process has the name.
[[nodiscard]] Client ipcm_reconnect(std::string_view name, const BusInfo& info);
[[nodiscard]] Client ipcm_reconnect(std::string_view name, std::string_view info);

}  // namespace ipcm
