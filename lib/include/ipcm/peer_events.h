#pragma once

// The events of the peers of a bus. A client looks:
//
//     ipcm::Client client = ipcm::ipcm_connect_anonymous(info);
//     ipcm::PeerEvents events(client);
//     for (const ipcm::PeerEvent& event : events.wait())
//       std::printf("%s %s\n", event.name.c_str(), ipcm::to_string(event.kind));

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/client.h"

namespace ipcm {

/// What has happened to a peer.
struct PeerEvent {
  enum class Kind {
    joined,  ///< It has its name.
    ready,   ///< It can receive.
    left,    ///< It is not on the bus any more, and nothing shows that it failed.
    died,    ///< Its process ended without leaving the bus, by a signal, or with a status other than 0.
  };
  Kind kind = Kind::joined;
  std::string name;
  std::string class_name;            ///< The class of a service of this library; empty: unknown.
  std::optional<Pid> pid;            ///< As PeerInfo::pid.
  bool has_ended = false;            ///< left, died: whether its process is known to have ended.
  std::optional<ExitStatus> status;  ///< left, died: how its process ended, if this can be known.
  std::string description;  ///< left, died: "has left", "exited with status 3", or why the status is unknown.
  std::string last_words;   ///< died: the end of its log, as service_last_words(); empty: there is none.
};

/// Returns "joined", "ready", "left" or "died".
[[nodiscard]] const char* to_string(PeerEvent::Kind kind);

/// The peers of a bus, and what happens to them from now on. Peers that are on the bus already have no events until
/// something happens to them. Events of one peer come in their order.
///
/// The end of a peer is reported when its process has ended, or one second after it has left: a process may go on
/// after it has left the bus. Another program that lists the bus may remove the files of a dead peer first; if the
/// kernel then does not tell how the process ended (before Linux 6.15), and no obituary does (ipcm/obituary.h), the event
/// is `left`.
///
/// Belongs to the thread of its client, which must outlive it.
class PeerEvents {
 public:
  /// Throws BusError, SystemError.
  explicit PeerEvents(Client& client);
  ~PeerEvents();
  PeerEvents(const PeerEvents&) = delete;
  PeerEvents& operator=(const PeerEvents&) = delete;

  /// Returns the events since the last call, without waiting for more: for an event loop, when Client::fd() is
  /// readable. Reading the last words of a peer that died may take up to a second. Throws BusError if the bus was
  /// removed and all events were returned; SystemError if the peers can't be listed (call it again then).
  [[nodiscard]] std::vector<PeerEvent> take();
  /// As take(), but waits for the first event. Empty: the limit has passed.
  [[nodiscard]] std::vector<PeerEvent> wait(Duration limit = kNoLimit);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ipcm
