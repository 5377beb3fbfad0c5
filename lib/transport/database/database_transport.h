#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "transport/database/connection.h"
#include "transport/database/inbox.h"
#include "transport/database/outbox.h"
#include "transport/database/peer_processes.h"
#include "transport/database/presence.h"
#include "transport/database/registration.h"
#include "transport/database/store.h"
#include "transport/transport.h"

namespace ipcm::database {

// Peers and messages are rows of two tables, as in the Perl reference; docs/bus.md describes them. The
// Store hides the differences between kinds of databases (how to prove that peers live, how to wake
// members). This class joins the parts: when each is called in the loop, and what the end of the bus means.

class DatabaseTransport final : public transport::Transport {
 public:
  DatabaseTransport(const transport::JoinRequest& request, Loop& loop, transport::Receiver& receiver,
                    std::unique_ptr<Store> store);
  ~DatabaseTransport() override;

  SendResult send(const Message& message) override;
  [[nodiscard]] std::size_t queued_bytes(const std::string& peer) const override {
    return outbox_.queued_bytes(peer);
  }
  [[nodiscard]] std::size_t queued_messages() const override { return outbox_.queued_messages(); }
  void abandon(const std::string& peer) override { outbox_.abandon(peer); }
  void drain() override;
  void receive(bool on) override;
  [[nodiscard]] bool has_bus() override { return store_->is_there(); }
  void note_own_place() override;
  void look_at_own_place() override;
  void watch_own_place() override;
  void requeue(const std::vector<Message>& messages) override;
  void keep_requeued() override { keeps_put_back_ = true; }
  void acknowledge(const std::vector<std::string>& ids) override;
  std::vector<std::string> peers() override;
  transport::PeerFacts look(const std::string& peer) override;
  Identified identify(const std::string& peer) override;
  void watch_peers() override;
  /// A peer that leaves changes its row, which every member that has sent to it watches.
  [[nodiscard]] bool keeps_links() const override { return true; }
  [[nodiscard]] Statistics past() const override { return past_; }
  std::map<std::string, Statistics> all_statistics() override;
  void leave(const Statistics& statistics) override;
  void suspend(const Statistics& statistics, std::optional<double> expires) override;
  bool is_orphaned() override;

 private:
  void on_news();
  void try_again_later();
  /// Reports the end of the bus, and of all peers on it.
  void note_end(const std::string& why);
  void come_back();
  /// Handles an error of the connection. Returns whether it was cut, or the bus is gone.
  bool note_break(const StoreError& error);
  /// Returns whether the member can go on: another process holds a lock, or the connection was cut, which
  /// is noted.
  bool cope_with(const StoreError& error);
  /// Waits for the connection, for a call whose caller waits for an answer. Throws StoreError if there is
  /// none.
  void expect_connection();
  /// Calls `ask`, which looks at a peer. Returns an absent peer if the bus has ended.
  template <class Ask>
  [[nodiscard]] auto ask_about_peer(Ask&& ask);
  /// Reports a sentence, but not the same one again and again.
  void tell(const std::string& sentence);
  void leave_counts(const Statistics& statistics);
  void leave_place(const Statistics& statistics);
  void close();

  transport::JoinRequest request_;
  Loop& loop_;
  transport::Receiver& receiver_;
  std::unique_ptr<Store> store_;
  Registration registration_;
  PeerProcesses peer_processes_;
  Inbox inbox_;
  Outbox outbox_;
  Presence presence_;
  Connection connection_;
  bool joined_ = false;
  bool keeps_put_back_ = false;
  Statistics past_;
  std::vector<Message> kept_;  // put back by an anonymous member, which has no rows
  Watch soon_, retry_;
  std::chrono::milliseconds retry_in_{1};
  std::string told_;  // last
  os::Clock::time_point told_at_{};
  std::uint64_t not_told_ = 0;  // repetitions since then
};

}  // namespace ipcm::database
