#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/bus.h"
#include "ipcm/client.h"
#include "ipcm/message.h"
#include "loop/loop.h"
#include "os/descriptor.h"
#include "wire/frame.h"
#include "wire/serializer.h"

namespace ipcm::transport {

/// Bytes that a member queues for one peer, beyond those that the kernel holds. A single message always fits.
inline constexpr std::size_t kLargestQueue = wire::kLargestFrame;

/// Who takes what a transport brings. Called from inside the loop; must only note things down.
class Receiver {
 public:
  virtual ~Receiver() = default;
  virtual void heard(wire::Heard message) = 0;
  /// The same of a message that nobody has looked into.
  void received(Message message) { heard({std::move(message)}); }
  /// The way to a peer ended: it left, it died, or it only closed that connection.
  virtual void link_lost(const std::string& peer) = 0;
  /// The same where there may be several connections to it; `link` tells which: see Transport::last_link().
  virtual void connection_lost(const std::string& peer, std::uint64_t /*link*/) { link_lost(peer); }
  /// Somebody may have come or gone: look at peers() again. Only after watch_peers().
  virtual void peers_changed() = 0;
  /// The member's place on the bus is lost for good: the bus was taken down, its store can't be reached any
  /// more, or somebody else has the name. `why` is a sentence for people. Comes at most once, and after it
  /// nothing else; a member that leaves by itself is not told.
  virtual void bus_ended(const std::string& why) { dropped(why); }
  /// Something had to be thrown away; a sentence for people.
  virtual void dropped(const std::string& sentence) = 0;
  /// The same of messages that were queued for a peer; before link_lost(), if its way ended.
  virtual void undelivered(const std::string& peer, std::size_t messages, const std::string& why) {
    dropped(std::to_string(messages) + " messages to '" + peer + "' were not delivered: " + why);
  }
};

/// Who a peer is, as far as the medium tells.
struct PeerFacts {
  enum class State {
    absent,
    dead,
    present,    ///< its endpoint is there, it isn't reachable yet
    suspended,  ///< it is away and has said that it will be back: what is sent to it is kept
    active
  };
  State state = State::absent;
  /// Its process as it is numbered here; 0: not known. What the kernel tells, or else what the peer itself
  /// has noted: a claim, on which nothing may be signalled. See Transport::identify().
  Pid pid = 0;
  bool is_us = false;  ///< a member of this process
  bool elsewhere =
      false;      ///< it lives, in another pid namespace or on another machine: it has no number here
  Pid noted = 0;  ///< elsewhere: as it numbers itself
  /// dead: that is proven, and its leftovers may be removed. Otherwise no process of that number runs here.
  bool surely_dead = false;
  std::string class_name;  ///< of a service of ours
  /// suspended: until when it is waited for (Unix seconds); absent: without limit.
  std::optional<double> expires;
};

/// One member's way to a bus: its own mailbox, and the ways to all others. One implementation for each
/// medium.
///
/// Errors: what every sender must handle is a result; everything else throws Error. Threads: belongs to that
/// of its loop. Order: messages of one sender arrive as sent. After fork: inert in the child.
class Transport {
 public:
  enum class Sent {
    done,      ///< the medium has it
    gathered,  ///< it goes out with others, by send_gathered()
    ripe,      ///< the same, and that is to be next: there is enough of it
    queued,    ///< behind others; goes out as the loop runs
    gone,      ///< no such peer, or it died
    full,      ///< the queue for that peer is at its limit
  };

  virtual ~Transport() = default;
  /// `why` tells about gone and full.
  [[nodiscard]] virtual Sent send(const Message& message, std::string& why) = 0;
  /// The same of a message whose content stands beside it, for media that need not have it in one piece;
  /// others put it into the message first.
  [[nodiscard]] virtual Sent send_in_pieces(Message& message, const wire::ContentPieces& content,
                                            std::string& why) {
    message.content = content.content();
    return send(message, why);
  }
  /// The same of an answer: on the connection that its request came on (wire::Heard), while that is open,
  /// and otherwise to whoever has the name. Two peers that greet under one name get their own answers.
  [[nodiscard]] virtual Sent reply(Message& message, const wire::ContentPieces& content, std::string& why,
                                   std::uint64_t /*connection*/) {
    return send_in_pieces(message, content, why);
  }
  /// The same of a message that may wait for others, which then go out together: until send_gathered(), which
  /// has to come before anything else is sent to that peer. Where nothing is gained by that, it is sent now.
  [[nodiscard]] virtual Sent gather(Message& message, const wire::ContentPieces& content, std::string& why) {
    return send_in_pieces(message, content, why);
  }
  /// What waits for that: no peer with nothing.
  struct Gathered {
    std::string peer;
    std::size_t messages = 0;
  };
  [[nodiscard]] virtual std::vector<Gathered> gathered() const { return {}; }
  /// Sends what is gathered for a peer, all of it; gone: none of it. Nothing is gathered for it then.
  [[nodiscard]] virtual Sent send_gathered(const std::string& /*peer*/, std::string& /*why*/) {
    return Sent::done;
  }
  /// Bytes that wait to be sent to one peer, and messages that wait to be sent to all.
  [[nodiscard]] virtual std::size_t queued_bytes(const std::string& peer) const = 0;
  [[nodiscard]] virtual std::size_t queued_messages() const = 0;
  /// Gives up what is queued for a peer, where a reader has stalled.
  virtual void abandon(const std::string& peer) = 0;
  /// The same of the one that asked on that connection; see reply().
  virtual void abandon_asker(const std::string& peer, std::uint64_t /*connection*/) { abandon(peer); }
  /// Takes in everything that has arrived, without waiting; also while receiving is off.
  virtual void drain() = 0;
  /// Off: nothing is taken in by the loop any more, so that senders have to wait. On again: goes on.
  virtual void receive(bool on) = 0;
  /// Keeps messages for the next reader of this name: this member, or one that joins after it has left, or
  /// after its process has become another program. They come again, in front of others, with the next
  /// drain().
  virtual void requeue(const std::vector<Message>& messages) = 0;

  /// Leaving is next: what was put back stays where it is, for the next reader.
  virtual void keep_requeued() = 0;
  /// Messages, by id, that have been dealt with: whoever read them has come back for more, or leaves. A
  /// medium that keeps messages forgets them only now, so that a reader that dies over them leaves them to
  /// its successor: each comes at least once, and a second time under the same id. One that was received
  /// twice is acknowledged twice. Unknown ids are passed over.
  virtual void acknowledge(const std::vector<std::string>& /*ids*/) {}

  [[nodiscard]] virtual std::vector<std::string>
  peers() = 0;  ///< Others, sorted; dead ones left out and cleared away.
  [[nodiscard]] virtual PeerFacts look(const std::string& peer) = 0;
  struct Identified {
    PeerFacts facts;
    /// A pidfd of its process, where the kernel vouches for it; empty: that can't be proven from here.
    os::UniqueFd process = {};
  };
  /// The same, with its process.
  [[nodiscard]] virtual Identified identify(const std::string& peer) { return {look(peer), {}}; }
  /// The same before a signal is sent: it may connect to the peer to find out.
  [[nodiscard]] virtual Identified identify_surely(const std::string& peer) { return identify(peer); }
  /// Tells the Receiver of changes from now on.
  virtual void watch_peers() = 0;
  /// From now on Receiver::bus_ended() tells if somebody takes away the files that this member is found by.
  /// For services, which would wait there for ever.
  virtual void watch_own_place() {}
  /// Whether link_lost() comes for everybody we have sent to, so that nobody needs to watch for their
  /// leaving.
  [[nodiscard]] virtual bool keeps_links() const = 0;
  /// Whether a connection to a peer is open on which nothing waits: then sending finds out whether it has
  /// ended, and takes a new one to its successor.
  [[nodiscard]] virtual bool has_clear_link(const std::string& /*peer*/) const { return false; }
  /// The connection that the last message went over; 0 where there are none. If it ends, that message may not
  /// have been taken in.
  [[nodiscard]] std::uint64_t last_link() const { return last_link_; }
  /// What a predecessor under our name had counted when it left; counting goes on from there. Asked before
  /// leaving.
  [[nodiscard]] virtual Statistics past() const = 0;
  /// What those who have left have counted, by name.
  [[nodiscard]] virtual std::map<std::string, Statistics> all_statistics() = 0;

  /// Takes the endpoint away and leaves `statistics` for others to read; idempotent.
  virtual void leave(const Statistics& statistics) = 0;
  /// Leaves the endpoint in place: what is sent to it waits until somebody joins again under this name, or
  /// until `expires` (Unix seconds). Throws BusError where Protocol::keeps_messages() is false.
  virtual void suspend(const Statistics& statistics, std::optional<double> expires) = 0;
  /// The bus itself is gone, or a bus whose owner is dead has lost its last member: nothing is left to talk
  /// on.
  [[nodiscard]] virtual bool is_orphaned() = 0;

 protected:
  std::uint64_t last_link_ = 0;
};

struct JoinRequest {
  BusInfo info;
  std::string name;
  std::string class_name;  ///< told to whoever lists the bus; may be empty
  /// No endpoint, not listed: can send, and read answers on what it opened itself.
  bool anonymous = false;
  /// A name that was suspended is taken up again; without, such a name is taken.
  bool reconnect = false;
  std::shared_ptr<const wire::Serializer> serializer = {};  ///< that of `info`; Member sees to it
};

/// The duty to take a bus down. It is held by one process and ends with it, which everybody on the bus can
/// see. Destroying it lets it go without a trace on the bus: for after the route was removed.
class Ownership {
 public:
  virtual ~Ownership() = default;
  /// The bus stays, and has no owner from now on.
  virtual void release() noexcept = 0;
};
struct OwnerFacts {
  bool exists = false;  ///< the bus has, or had, an owner that was to take it down
  bool held = false;    ///< and that one lives
  Pid pid = 0;          ///< as the kernel tells; 0: not known, or in another pid namespace
};

/// What became of a bus that was to be removed.
struct Removal {
  Removal(bool gone = false) : is_gone(gone) {}  // NOLINT: where there is no more to tell than that
  explicit operator bool() const { return is_gone; }
  bool is_gone;                        ///< Nothing of the bus is left.
  std::vector<std::string> left = {};  ///< What no bus has put there: it stays, and the directory with it.
  std::string why = {};                ///< Why it is not gone.
  std::string living = {};             ///< A peer that is on the bus, and kept it from being removed.
};
/// Whether a bus is removed while a peer of ours is on it, that is, holds its lock.
enum class Living { spare, ignore };

/// What is known of one kind of bus: how to make, join and remove one.
class Protocol {
 public:
  virtual ~Protocol() = default;
  [[nodiscard]] virtual const char* name() const = 0;
  [[nodiscard]] virtual const char* summary() const = 0;
  /// Empty: it works here. Never throws.
  [[nodiscard]] virtual std::string why_not_viable() const noexcept = 0;
  /// Whether messages wait for a receiver that is away, so that it can suspend and come back.
  [[nodiscard]] virtual bool keeps_messages() const = 0;
  /// The driver module that it loads (transport/database/drivers.h); null: none.
  [[nodiscard]] virtual const char* driver() const { return nullptr; }
  /// Whether whoever joins has to say who it is on a server (Credentials).
  [[nodiscard]] virtual bool has_credentials() const { return false; }
  /// Throws BusError for a route that can't be one of this protocol, or that holds a password; the error does
  /// not repeat it.
  virtual void check_route(const std::string& /*route*/) const {}
  /// Whether it lives inside one process only.
  [[nodiscard]] virtual bool within_one_process() const { return false; }
  /// Makes the route, or takes the one that options.route names: a bus of this protocol, or an empty place.
  /// Returns it. Throws BusError for a place that holds anything else.
  [[nodiscard]] virtual std::string make_route(const SpawnOptions& options) const = 0;
  /// Removes what the bus has put there, and nothing else. What is no bus is not changed. A bus that is gone
  /// already is fine. Can be called again after it has failed.
  virtual Removal remove_route(const BusInfo& info, Living living = Living::ignore) const noexcept = 0;
  /// Removes what somebody who was killed while he made or removed a bus has left in a directory; `file` is
  /// the name of one of ours there (ipcm-PID-XXXXXX…), and PID has ended. false: it is none, or may be a bus.
  [[nodiscard]] virtual bool remove_unfinished(const std::string& /*directory*/,
                                               const std::string& /*file*/) const {
    return false;
  }
  /// The bus is ours to take down from now on, whoever had that duty before.
  [[nodiscard]] virtual std::unique_ptr<Ownership> own(const BusInfo& info) const = 0;
  [[nodiscard]] virtual OwnerFacts owner(const BusInfo& info) const = 0;
  [[nodiscard]] virtual std::unique_ptr<Transport> join(const JoinRequest& request, Loop& loop,
                                                        Receiver& receiver) const = 0;
};

}  // namespace ipcm::transport
