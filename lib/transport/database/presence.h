#pragma once

#include <functional>
#include <string>
#include <vector>

#include "transport/database/peer_processes.h"
#include "transport/database/store.h"
#include "transport/presence/process_watch.h"
#include "transport/transport.h"

namespace ipcm::database {

/// The other peers on the bus: the rows of ipcm_peers, and the watches that report a changed row or a
/// death. Throws StoreError.
class Presence {
 public:
  /// `id`: the id of the member in the tables. `news` is called inside the loop, and must call
  /// look_again(). All arguments must outlive the object.
  Presence(Store& store, Loop& loop, transport::Receiver& receiver, PeerProcesses& peer_processes,
           const std::string& id, std::function<void()> news);

  /// Returns all peers, sorted, with this member. Removes the leftovers of dead ones.
  [[nodiscard]] std::vector<PeerRow> list();
  [[nodiscard]] transport::PeerFacts look(const std::string& peer);
  [[nodiscard]] transport::Transport::Identified identify(const std::string& peer);
  /// Watches the rows, to learn when a peer that this member has sent to leaves.
  void watch_rows();
  /// Watches all peers, and reports those that join or leave to the receiver.
  void watch_all();
  [[nodiscard]] bool watches_all() const { return watches_all_; }
  /// Makes the next look_again() look at all peers and notify the receiver.
  void look_at_all() { somebody_died_ = true; }
  /// Reports changes to the receiver, if anything is watched.
  void look_again();
  void stop() { processes_.follow({}); }

 private:
  void clear_dead(const PeerRow& row);
  void note_death();

  Store& store_;
  Loop& loop_;
  transport::Receiver& receiver_;
  PeerProcesses& peer_processes_;
  const std::string& id_;
  std::function<void()> news_;
  bool watches_all_ = false;
  bool watches_rows_ = false;
  bool somebody_died_ = false;
  std::vector<PeerRow> known_;  // at the last look, while peers are watched
  transport::ProcessWatch processes_;
};

}  // namespace ipcm::database
