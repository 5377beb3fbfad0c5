#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "bus/member.h"
#include "client/held_starts.h"
#include "client/open_requests.h"
#include "loop/recovery.h"
#include "os/descriptor.h"

namespace ipcm::client {

/// Notices when a peer that was asked goes away, and fails the requests to it.
///
/// A request is bound to the process that received it. When the link to a peer or its process ends, this
/// object first reads everything that the peer has sent; then the open requests to it fail. Where the bus
/// keeps messages, a request outlives that process: it waits for a peer that has suspended, and for one that
/// came back as another process. The loop only notes what ended; process() does the rest.
class PeerWatch {
 public:
  /// All must outlive it.
  PeerWatch(bus::Member& member, OpenRequests& open, const HeldStarts& starts);
  ~PeerWatch();
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;

  /// From now on the end of that peer is noticed. Returns its state; active if it is watched already.
  transport::PeerFacts::State watch(const std::string& peer);
  void forget(const std::string& peer) { watched_.erase(peer); }
  /// The process that is watched for that peer; 0: none is.
  [[nodiscard]] Pid watched_pid(const std::string& peer) const;
  /// Fails the requests to a process that has ended, before its successor of the same name is asked.
  void part_from_predecessor(const std::string& peer);

  [[nodiscard]] bool has_work() const { return (!lost_.empty() || must_look()) && !looking_.is_waiting(); }
  /// Looks after the peers that may have ended. A failed call is repeated later.
  void process();

 private:
  struct Watched {
    Pid pid = 0;           // 0: it is not there; awaited until it is, or until its time is up
    os::UniqueFd process;  // empty: only its place on the bus shows its end
    // Otherwise the pid is a claim, and the end of that process only a reason to look again.
    bool is_proven = false;
    std::string class_name;  // of a service
    Watch watch;             // of its process, or of its time
  };
  /// A link that its peer has closed, while requests that were sent over it are open.
  struct Closed {
    std::string peer;
    Watch grace;  // its process may be ending, which is a better reason
    bool is_over = false;
  };

  void note_lost(const std::string& peer, std::uint64_t link);
  /// Returns what the bus knows of a peer. Looks a second time where one look can't tell.
  [[nodiscard]] transport::Transport::Identified identify(const std::string& peer);
  void watch_absence(Watched& entry, const std::string& peer, double until);
  void watch_process(Watched& entry, const std::string& peer);
  /// Whether the peers have changed since look_after_all().
  [[nodiscard]] bool must_look() const;
  void look_after_all();
  void look_after_lost();
  void look_after(const std::string& peer);
  /// Reads the last messages of a peer that has ended.
  void read_last_messages(const std::string& peer);
  void fail_as_gone(const std::string& peer, Pid asked, bool ended, const transport::PeerFacts& facts);
  /// Keeps the end of a service that this object has watched, or returns what another process has noted of it.
  [[nodiscard]] std::optional<ExitStatus> consult_obituary(const std::string& peer, Pid asked,
                                                           const std::optional<ExitStatus>& status,
                                                           bool is_dead);
  /// Fails the requests that were sent over a link that a living peer has closed.
  void fail_on_closed(const std::string& peer);

  bus::Member& member_;
  OpenRequests& open_;
  const HeldStarts& starts_;
  std::uint64_t seen_changes_ = 0;  // Member::peer_changes() at the last look_after_all()
  std::map<std::string, Watched> watched_;
  std::map<std::string, std::uint64_t>
      lost_at_;                 // Member::losses() when the last link to an asked peer ended
  std::set<std::string> lost_;  // peers whose link or process has ended since the last look
  std::map<std::uint64_t, Closed> closed_links_;
  Recovery looking_;
};

}  // namespace ipcm::client
