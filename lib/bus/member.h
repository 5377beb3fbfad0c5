#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "bus/inbox.h"
#include "bus/message_counts.h"
#include "bus/obituary_file.h"
#include "bus/sender.h"
#include "ipcm/basics.h"
#include "loop/loop.h"
#include "os/clock.h"
#include "transport/transport.h"

namespace ipcm::bus {

/// The part of a Client, a Handle and a Service that is on the bus: a transport, the inbox, the sender, and
/// the counts. Runs on a loop that it may share. Belongs to the process that made it.
class Member final : private transport::Receiver, public std::enable_shared_from_this<Member> {
 public:
  using Sending = Sender::Sending;
  Member(const transport::JoinRequest& request, std::shared_ptr<Loop> loop, Sending sending);
  /// Leaves, if it has not: silently, and without waiting for anything.
  ~Member() override;
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  /// Makes sure that answers reach this member. An anonymous one joins again where the protocol returns answers
  /// only to a mailbox: from then on, peers see it. Throws BusError.
  void accept_answers();
  /// Returns whether it has no mailbox, so that messages can't reach it.
  [[nodiscard]] bool is_anonymous() const { return request_.anonymous; }

  [[nodiscard]] const std::string& name() const { return request_.name; }
  [[nodiscard]] const BusInfo& info() const { return request_.info; }
  [[nodiscard]] const transport::Protocol& protocol() const { return protocol_; }
  [[nodiscard]] Loop& loop() const { return *loop_; }
  [[nodiscard]] transport::Transport& transport() const { return *transport_; }
  [[nodiscard]] Inbox& inbox() { return inbox_; }
  [[nodiscard]] const Inbox& inbox() const { return inbox_; }
  [[nodiscard]] Sender& sender() { return sender_; }
  [[nodiscard]] MessageCounts& counts() { return counts_; }

  /// Wait until a peer can receive, or is not on the bus; changes of the bus wake them. false: the deadline came
  /// first.
  bool await_active(const std::string& peer, os::Deadline deadline);
  bool await_gone(const std::string& peer, os::Deadline deadline);

  [[nodiscard]] std::uint64_t dropped_count() const { return dropped_; }
  /// Counts a dropped message, and calls the diagnostics callback.
  void note_dropped(const std::string& sentence) { dropped(sentence); }
  void on_diagnostic(Diagnostics tell) { diagnostics_ = std::move(tell); }

  /// Called inside the loop when a connection to a peer has ended; `link`: see Transport::last_link().
  using LinkLost = std::function<void(const std::string& peer, std::uint64_t link)>;
  void on_link_lost(LinkLost tell) { link_lost_ = std::move(tell); }
  /// Returns the number of connections to peers that have ended so far.
  [[nodiscard]] std::uint64_t losses() const { return losses_; }
  /// As Transport::watch_peers().
  void watch_peers();
  /// Counts the changes among the peers, once they are watched. A reader compares it with an earlier value.
  [[nodiscard]] std::uint64_t peer_changes() const { return peer_changes_; }

  /// Returns why this member has lost its place on the bus for good; empty as long as it has one. Nothing more
  /// comes then, and each caller that waits should end with that reason.
  [[nodiscard]] const std::string& ended() const { return ended_; }
  /// Throws BusError if the member has lost its place.
  void expect_bus() const;
  /// Lets the loop notice that the bus, or the place of this member on it, is removed (ended()): for a caller that waits
  /// for messages, before each wait. The kernel takes long to end such a watch, and a user has few of them: so it begins
  /// a tenth of a second after the first call, and a program that ends before never pays for it. If the user has no watch
  /// left, a later call tries again. Throws SystemError.
  void notice_removal();

  /// Sends the queued messages, as long as the deadline allows, then leaves. Idempotent.
  void leave(os::Deadline flush);
  /// Leaves without waiting, and does not throw.
  void leave_silently() noexcept;
  /// Leaves for a while; see Transport::suspend(). Sends the queued messages first, as long as the deadline
  /// allows.
  void suspend(std::optional<double> expires, os::Deadline flush);
  [[nodiscard]] bool has_left() const { return left_; }
  /// Returns whether a diagnostics callback runs, which the transport has called: leave() takes effect when
  /// that call has returned.
  [[nodiscard]] bool is_telling() const { return telling_ > 0; }
  /// Returns whether leave() was called inside such a callback.
  [[nodiscard]] bool is_to_leave() const { return to_leave_ && !left_; }
  /// Returns whether it is on the bus, and this process is the one that joined.
  [[nodiscard]] bool is_usable() const;
  /// Throws UsageError if it is not.
  void expect_usable() const;
  /// Throws UsageError if messages on this bus have no fields of their senders.
  void expect_carries_fields() const;

 private:
  void incoming(wire::IncomingMessage message) override;
  void link_lost(const std::string& peer) override { connection_lost(peer, 0); }
  void connection_lost(const std::string& peer, std::uint64_t link) override;
  void peers_changed() override { ++peer_changes_; }
  void bus_ended(const std::string& why) override;
  void found_dead(const std::string& peer, const transport::PeerFacts& facts) override {
    keep_unwitnessed_death(info(), peer, facts);
  }
  void dropped(const std::string& sentence) override;
  void undelivered(const std::string& peer, std::size_t messages, const std::string& why) override;
  template <class Reached>
  bool await_state(const std::string& peer, os::Deadline deadline, Reached&& reached);

  transport::JoinRequest request_;
  std::shared_ptr<Loop> loop_;
  const transport::Protocol& protocol_;
  std::uint32_t born_in_;
  bool left_ = false;
  unsigned telling_ = 0;
  bool to_leave_ = false;
  Watch end_;  // destroys a member whose owner let it go inside its own callback
  MessageCounts counts_;
  Inbox inbox_;
  Sender sender_;
  std::uint64_t losses_ = 0;
  std::uint64_t peer_changes_ = 0;
  bool watches_peers_ = false;
  bool watches_place_ = false;
  Watch place_timer_;  // set: the watch is about to begin
  std::string ended_;
  std::uint64_t dropped_ = 0;
  Diagnostics diagnostics_;
  LinkLost link_lost_;
  std::unique_ptr<transport::Transport> former_transport_;  // of accept_answers() inside a callback
  std::unique_ptr<transport::Transport> transport_;         // last: it calls back
};

}  // namespace ipcm::bus
