#pragma once

#include <functional>
#include <string>
#include <vector>

#include "transport/database/peer_processes.h"
#include "transport/database/store.h"
#include "transport/presence/process_watch.h"
#include "transport/transport.h"

namespace ipcm::database {

/// Who else is on the bus: the rows of ipcm_peers, and what tells that one changed, or that somebody died.
/// Throws StoreError.
class Presence {
 public:
  /// `id`: as the tables call us; `news` is called inside the loop, and is to call look_again(). All must
  /// outlive it.
  Presence(Store& store, Loop& loop, transport::Receiver& receiver, PeerProcesses& peer_processes,
           const std::string& id, std::function<void()> news);

  /// Sorted, ourselves among them; clears up after the dead.
  [[nodiscard]] std::vector<PeerRow> list();
  [[nodiscard]] transport::PeerFacts look(const std::string& peer);
  [[nodiscard]] transport::Transport::Identified identify(const std::string& peer);
  /// Enough to learn that somebody we have sent to has left.
  void watch_rows();
  /// All comings and goings, which the receiver is told of from now on.
  void watch_all();
  [[nodiscard]] bool watches_all() const { return watches_all_; }
  /// The next look_again() looks at everybody, and tells the receiver.
  void look_at_all() { somebody_died_ = true; }
  /// If something is watched: tells the receiver what has changed.
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
  std::vector<PeerRow> known_;  // as last seen, while they are watched
  transport::ProcessWatch processes_;
};

}  // namespace ipcm::database
