#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipcm/bus_info.h"
#include "ipcm/message.h"
#include "ipcm/spawn_options.h"
#include "ipcm/statistics.h"
#include "loop/loop.h"
#include "os/descriptor.h"
#include "transport/presence/peer_note.h"
#include "wire/frame.h"
#include "wire/serializer.h"

namespace ipcm::transport {

/// The bytes that a member queues for one peer, beyond those that the kernel holds. An empty queue takes a
/// message of any size.
inline constexpr std::size_t kLargestQueue = wire::kLargestFrame;

struct PeerFacts;

/// The owner of a transport, as the transport sees it. All calls come from inside the loop and must only
/// note things down.
class Receiver {
 public:
  virtual ~Receiver() = default;
  virtual void incoming(wire::IncomingMessage message) = 0;
  /// Passes on a message that has not been classified yet.
  void received(Message message) { incoming({std::move(message)}); }
  /// The connection to a peer ended: the peer left, died, or only closed that connection.
  virtual void link_lost(const std::string& peer) = 0;
  /// As link_lost(), for media with several connections to one peer; `link` is a value of
  /// Transport::last_link().
  virtual void connection_lost(const std::string& peer, std::uint64_t /*link*/) { link_lost(peer); }
  /// A peer may have joined or left: call peers() again. Comes only after watch_peers().
  virtual void peers_changed() = 0;
  /// The member has lost its place on the bus for good: the bus was taken down, its store cannot be reached
  /// any more, or another process has the name. `why` is a sentence for people. Comes at most once, and is
  /// the last call. A member that leaves by itself gets no such call.
  virtual void bus_ended(const std::string& why) { dropped(why); }
  /// A listing has found a peer that is proven dead, and is about to remove its files or rows, unless messages wait
  /// there: then it comes with each listing. Other than the other calls, it may write a file.
  virtual void found_dead(const std::string& /*peer*/, const PeerFacts& /*facts*/) {}
  /// The transport had to discard something; a sentence for people.
  virtual void dropped(const std::string& sentence) = 0;
  /// Messages that were queued for a peer were discarded. Comes before link_lost() if the connection ended.
  virtual void undelivered(const std::string& peer, std::size_t messages, const std::string& why) {
    dropped(std::to_string(messages) + " messages to '" + peer + "' were not delivered: " + why);
  }
};

/// The state of a peer and the process behind it, as far as the medium shows them.
struct PeerFacts {
  enum class State {
    absent,
    dead,
    present,    ///< its endpoint is there, it isn't reachable yet
    suspended,  ///< it is away and has announced its return: the medium keeps messages to it
    active
  };
  State state = State::absent;
  /// Its process id here; 0: unknown. It comes from the kernel, or else from the note of the peer itself:
  /// the kernel may have given that number to another process since, so nothing may be signalled on it. See
  /// Transport::identify().
  Pid pid = 0;
  bool is_us = false;      ///< a member of this process
  bool elsewhere = false;  ///< it lives in another pid namespace or on another machine
  Pid noted = 0;           ///< elsewhere: its process id there
  /// dead: its death is proven, and its leftovers may be removed. Otherwise no process of that number runs
  /// here.
  bool surely_dead = false;
  std::string class_name;       ///< the class of a service of this library
  bool is_inspectable = false;  ///< a service that answers the request for its facts, and says so on the bus
  /// dead: when it had joined the bus, Unix seconds; 0: unknown. Its process is older.
  double since = 0;
  /// suspended: when its return is no longer expected (Unix seconds); absent: never.
  std::optional<double> expires;
};

/// The connection of one member to a bus: its own mailbox, and the channels to all peers. Each medium has
/// one implementation.
///
/// What every protocol guarantees:
///
/// 1. Delivery. A message arrives whole or not at all. Sent::done means that the medium has it, not that
///    the peer has read it. Messages that still wait in the queue of the sender when their connection ends
///    are reported (Receiver::undelivered()).
/// 2. Repetition. A message arrives at most once, unless Protocol::keeps_messages() is true. Then it
///    arrives at least once: the medium keeps it until acknowledge(), and a successor of a reader that died
///    gets it again under the same id.
/// 3. Order. Messages from one sender to one receiver arrive in the order of sending. Messages of different
///    senders have no order. Messages that were put back (requeue()) come before all others.
/// 4. Limits. A message that is larger than wire::kLargestFrame, or than its receiver or the store can take,
///    throws ProtocolError. The messages that wait for one peer are limited (kLargestQueue, or a limit of the
///    medium): beyond that send() returns full.
/// 5. Presence. A peer is active from the moment when it can receive until it leaves, suspends or dies. The
///    kernel proves the death of a peer of this library by its lock (transport/presence/lock_file.h), so a
///    process id that was given to another process never stands for a living peer. Peers of other libraries
///    are judged by their endpoint and their process id.
/// 6. Names. A name belongs to one peer at a time. The leftovers of a dead peer do not block its name.
/// 7. Leaving. leave() is idempotent, and the statistics can be read by others once the endpoint is gone. A
///    destructor without leave() releases the name as well. A killed process leaves files or rows behind;
///    the next process that lists the bus removes them, unless messages wait in them.
/// 8. Waiting. No call waits until a peer reads. A call may wait for room in the accept queue of a peer, or
///    for a shared store, until os::TimeLimit or a limit of the medium ends.
/// 9. Errors. Results that every sender must handle are values of Sent; everything else throws Error.
/// 10. Threads. A transport belongs to the thread of its loop. It calls the Receiver on that thread only.
/// 11. Forks. In a forked child a transport is inert: it sends nothing, removes nothing, and its destructor
///     leaves the member of the parent on the bus.
class Transport {
 public:
  enum class Sent {
    done,      ///< the medium has it
    gathered,  ///< it waits for send_gathered()
    ripe,      ///< it waits, and the batch is large enough: call send_gathered() next
    queued,    ///< it waits behind others; the loop sends it
    gone,      ///< no such peer, or it died
    full,      ///< the queue for that peer is at its limit
  };
  struct SendResult {
    SendResult(Sent how) : sent(how) {}  // NOLINT: most results need no reason
    SendResult(Sent how, std::string reason) : sent(how), why(std::move(reason)) {}
    Sent sent;
    std::string why;  ///< gone, full: the reason, for people
  };

  virtual ~Transport() = default;
  [[nodiscard]] virtual SendResult send(const Message& message) = 0;
  /// Sends a message whose content stands beside it, for media that do not need it in one piece; others
  /// first put it into the message.
  [[nodiscard]] virtual SendResult send_slices(Message& message, const wire::ContentSlices& content) {
    message.content = content.content();
    return send(message);
  }
  /// Sends an answer: on the connection of its request (wire::IncomingMessage) while that is open, and otherwise to
  /// the present owner of the name. So two peers that greet under one name each get their own answers.
  [[nodiscard]] virtual SendResult reply(Message& message, const wire::ContentSlices& content,
                                         std::uint64_t /*connection*/) {
    return send_slices(message, content);
  }
  /// Adds a message to the batch for its peer. Call send_gathered() before anything else is sent to that
  /// peer. Media that gain nothing by batches send the message at once.
  [[nodiscard]] virtual SendResult gather(Message& message, const wire::ContentSlices& content) {
    return send_slices(message, content);
  }
  /// The batch of one peer; never empty.
  struct Gathered {
    std::string peer;
    std::size_t messages = 0;
  };
  [[nodiscard]] virtual std::vector<Gathered> gathered() const { return {}; }
  /// Sends the batch for a peer; gone: nothing of it was sent. In both cases the batch is empty afterwards.
  [[nodiscard]] virtual SendResult send_gathered(const std::string& /*peer*/) { return Sent::done; }
  /// The bytes that wait to be sent to one peer, and the messages that wait to be sent to all peers.
  [[nodiscard]] virtual std::size_t queued_bytes(const std::string& peer) const = 0;
  [[nodiscard]] virtual std::size_t queued_messages() const = 0;
  /// Discards the queue for a peer that does not read.
  virtual void abandon(const std::string& peer) = 0;
  /// Discards the queue of the peer that asked on that connection; see reply().
  virtual void abandon_asker(const std::string& peer, std::uint64_t /*connection*/) { abandon(peer); }
  /// Passes on everything that has arrived, without waiting; also while receiving is off.
  virtual void drain() = 0;
  /// Turns receiving off or on. While it is off, the loop reads nothing, so that senders have to wait.
  virtual void receive(bool on) = 0;
  /// Keeps messages for the next reader of this name: this member, one that joins after it has left, or one
  /// in the program that its process becomes by exec. The next drain() passes them on before all others.
  virtual void requeue(const std::vector<Message>& messages) = 0;

  /// Called before leave(): messages that were put back stay in place for the next reader.
  virtual void keep_requeued() = 0;
  /// Acknowledges messages by id, after the member has handled them. A medium that keeps messages deletes
  /// them only now, so that a successor of a reader that died gets them: see guarantee 2. A message that
  /// arrived twice is acknowledged twice. Unknown ids are ignored.
  virtual void acknowledge(const std::vector<std::string>& /*ids*/) {}

  /// Returns the names of all other peers, sorted. Dead ones are left out, and their leftovers removed.
  [[nodiscard]] virtual std::vector<std::string> peers() = 0;
  [[nodiscard]] virtual PeerFacts look(const std::string& peer) = 0;
  struct Identified {
    PeerFacts facts;
    /// A pidfd of its process if the kernel proves it; empty: no proof is possible from here.
    os::UniqueFd process = {};
  };
  /// Returns the facts of a peer, and its process.
  [[nodiscard]] virtual Identified identify(const std::string& peer) { return {look(peer), {}}; }
  /// As identify(), before a signal is sent: it may connect to the peer to find its process.
  [[nodiscard]] virtual Identified identify_surely(const std::string& peer) { return identify(peer); }
  /// Reports joining and leaving peers to the Receiver from now on; the removal of the bus is such a change.
  virtual void watch_peers() = 0;
  /// Returns false once the bus is removed, or its removal has begun.
  [[nodiscard]] virtual bool has_bus() { return true; }
  /// Notes which files this member is found by, for the next two. Throws SystemError.
  virtual void note_own_place() {}
  /// Calls Receiver::bus_ended() if another process has taken away one of those files since then. Throws
  /// SystemError.
  virtual void look_at_own_place() {}
  /// Calls Receiver::bus_ended() if another process takes away one of those files, or has done so since
  /// note_own_place(). For services, which would wait on a removed bus for ever. Throws SystemError; it can
  /// be called again then.
  virtual void watch_own_place() {}
  /// Returns whether link_lost() comes for every peer that this member has sent to, so that no one needs to
  /// watch for their leaving.
  [[nodiscard]] virtual bool keeps_links() const = 0;
  /// Returns whether an open connection to a peer has an empty queue. Then a send finds out whether the
  /// connection has ended, and opens a new one to the successor of the peer.
  [[nodiscard]] virtual bool has_clear_link(const std::string& /*peer*/) const { return false; }
  /// Returns the connection that carried the last message; 0 if the medium has none. If that connection
  /// ends, the peer may not have read the message.
  [[nodiscard]] std::uint64_t last_link() const { return last_link_; }
  /// Returns the counts of a predecessor with the same name; this member adds to them. Asked before
  /// leaving.
  [[nodiscard]] virtual Statistics past() const = 0;
  /// Returns the counts of the peers that have left, by name.
  [[nodiscard]] virtual std::map<std::string, Statistics> all_statistics() = 0;

  /// Removes the endpoint and leaves `statistics` for others to read; idempotent.
  virtual void leave(const Statistics& statistics) = 0;
  /// Leaves the endpoint in place: messages to it wait until a member joins under this name, or until
  /// `expires` (Unix seconds). Throws BusError if Protocol::keeps_messages() is false.
  virtual void suspend(const Statistics& statistics, std::optional<double> expires) = 0;
  /// Returns whether the bus is gone, or its owner is dead.
  [[nodiscard]] virtual bool is_orphaned() = 0;

 protected:
  std::uint64_t last_link_ = 0;
};

struct JoinRequest {
  BusInfo info;
  std::string name;
  std::string class_name;  ///< shown to processes that list the bus; may be empty
  /// A service that answers the request for its facts: shown likewise, where the protocol has a place for it.
  bool is_inspectable = false;
  /// The member has no endpoint and is not listed: it sends, and reads answers on the connections that it
  /// opened.
  bool anonymous = false;
  /// Joins as the successor of a suspended peer of that name. If false, the name of a suspended peer is
  /// taken.
  bool reconnect = false;
  std::shared_ptr<const wire::Serializer> serializer = {};  ///< the serializer of `info`; Member sets it

  [[nodiscard]] PeerNote note() const { return {class_name, is_inspectable}; }
};

/// The duty to take a bus down. One process holds it, and it ends with that process, which every member of
/// the bus can see. The destructor gives it up and changes nothing on the bus: for use after the route was
/// removed.
class Ownership {
 public:
  virtual ~Ownership() = default;
  /// Gives up the ownership; the bus stays, without an owner.
  virtual void release() noexcept = 0;
};
struct OwnerFacts {
  bool exists = false;  ///< the bus has, or had, an owner
  bool held = false;    ///< that owner lives
  Pid pid = 0;          ///< from the kernel; 0: unknown, or in another pid namespace
};

/// The result of removing a bus.
struct Removal {
  Removal(bool gone = false) : is_gone(gone) {}  // NOLINT: for callers that have no details
  explicit operator bool() const { return is_gone; }
  bool is_gone;                        ///< Nothing of the bus is left.
  std::vector<std::string> left = {};  ///< Files that no bus has made: they stay, and so does the directory.
  std::string why = {};                ///< Why the bus is not gone.
  std::string living = {};             ///< A living peer, which prevented the removal.
};
/// Whether to remove a bus while a peer of this library is on it, that is, holds its lock.
enum class Living { spare, ignore };

/// One kind of bus: how to make, join and remove one.
class Protocol {
 public:
  virtual ~Protocol() = default;
  [[nodiscard]] virtual const char* name() const = 0;
  [[nodiscard]] virtual const char* summary() const = 0;
  /// Returns why the protocol cannot work here; empty: it can.
  [[nodiscard]] virtual std::string why_not_viable() const noexcept = 0;
  /// Returns whether messages wait for an absent receiver, so that it can suspend and return.
  [[nodiscard]] virtual bool keeps_messages() const = 0;
  /// Returns the end of the names of its buses in the file system, ".sqlite" for example; empty for directories,
  /// and for buses that are elsewhere.
  [[nodiscard]] virtual const char* suffix() const { return ""; }
  /// Returns the name of the driver module that it loads (transport/database/drivers.h); null: none.
  [[nodiscard]] virtual const char* driver() const { return nullptr; }
  /// Returns whether a member has to log in to a server (Credentials).
  [[nodiscard]] virtual bool has_credentials() const { return false; }
  /// Throws BusError for a route that cannot belong to this protocol, or that holds a password; the error
  /// does not repeat the password.
  virtual void check_route(const std::string& /*route*/) const {}
  /// Returns whether messages may have fields of their senders: false if it stores the parts of a message apart.
  [[nodiscard]] virtual bool carries_fields() const { return true; }
  /// Returns whether a bus of this protocol exists inside one process only.
  [[nodiscard]] virtual bool within_one_process() const { return false; }
  /// Makes a route, or prepares the one that options.route names: a bus of this protocol, or an empty
  /// directory, file or database. Returns the route. Throws BusError if it holds anything else.
  [[nodiscard]] virtual std::string make_route(const SpawnOptions& options) const = 0;
  /// Removes the files or tables of the bus, and nothing else. Succeeds if the bus is gone already. Can be
  /// repeated after a failure.
  virtual Removal remove_route(const BusInfo& info, Living living = Living::ignore) const noexcept = 0;
  /// Removes the remains of a process that was killed while it made or removed a bus. `file` is a name of
  /// ours in the directory (ipcm-PID-XXXXXX…), and PID has ended. Returns false if these are no remains, or
  /// if it may be a bus.
  [[nodiscard]] virtual bool remove_unfinished(const std::string& /*directory*/,
                                               const std::string& /*file*/) const {
    return false;
  }
  /// Makes this process the owner of the bus, in the place of any other owner.
  [[nodiscard]] virtual std::unique_ptr<Ownership> own(const BusInfo& info) const = 0;
  [[nodiscard]] virtual OwnerFacts owner(const BusInfo& info) const = 0;
  [[nodiscard]] virtual std::unique_ptr<Transport> join(const JoinRequest& request, Loop& loop,
                                                        Receiver& receiver) const = 0;
};

}  // namespace ipcm::transport
