#pragma once

// The peers of a bus, and the processes behind them. A client looks:
//
//     ipcm::Client client = ipcm::ipcm_connect_anonymous(info);
//     for (const ipcm::PeerInfo& peer : ipcm::list_peers(client))
//       std::printf("%s %d\n", peer.name.c_str(), peer.pid.value_or(0));

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/client.h"

namespace ipcm {

/// A peer, and its process as far as it can be seen from here.
struct PeerInfo {
  enum class State {
    starting,   ///< It has its name, and can't receive yet.
    active,     ///< It can receive.
    suspended,  ///< It is away and will return; the bus keeps messages for it.
  };
  /// The state of its process.
  enum class Process {
    unknown,
    running,  ///< It runs, or waits for an event.
    stopped,  ///< A signal (SIGSTOP) or a debugger has stopped it: it answers nothing until it goes on.
    zombie,   ///< Its main thread has ended, and other threads go on.
  };
  std::string name;
  State state = State::active;
  std::string class_name;       ///< The class of a service of this library; empty: unknown.
  bool is_inspectable = false;  ///< A service of this library that answers inspect() (ipcm/inspection.h).
  /// Its process id. Do not signal it: the number may mean another process by now. signal_peer() is safe.
  std::optional<Pid> pid;
  /// The kernel proves that the next four belong to this peer. If not, they are those of the process that has the
  /// number now.
  bool is_proven = false;
  /// It lives in another pid namespace or on another machine: `pid` means another process here, and the next four
  /// are unknown.
  bool is_elsewhere = false;
  std::optional<std::chrono::system_clock::time_point> started;  ///< The start of its process.
  std::optional<std::uint64_t> resident_bytes;                   ///< The memory of its process.
  Process process = Process::unknown;
  std::optional<Duration> processor_time;  ///< Of all threads of its process, also in the kernel.
};

/// Returns "starting", "active" or "suspended".
[[nodiscard]] const char* to_string(PeerInfo::State state);
/// Returns "unknown", "running", "stopped" or "zombie".
[[nodiscard]] const char* to_string(PeerInfo::Process process);

/// Returns nullopt if there is no such peer, or its process has ended. Throws BusError, and SystemError.
[[nodiscard]] std::optional<PeerInfo> peer_info(const Client& client, std::string_view name);
/// Returns all other peers, sorted by name. Throws as peer_info() does.
[[nodiscard]] std::vector<PeerInfo> list_peers(const Client& client);

/// The end of a peer.
struct PeerEnd {
  bool has_ended = false;            ///< Whether its process is known to have ended.
  std::optional<ExitStatus> status;  ///< How its process ended, if this can be known.
  std::string description;           ///< "has left", "exited with status 3", or why the status is unknown.
};
/// Waits until a peer is not on the bus, and then up to one second for the end of its process. A name that is not on
/// the bus has left, or has died if it has an obituary (ipcm/obituary.h). Returns nullopt if the limit has passed. Throws BusError if the bus is removed meanwhile.
[[nodiscard]] std::optional<PeerEnd> await_peer_gone(const Client& client, std::string_view name,
                                                     Duration limit = kNoLimit);

/// Sends a signal to the process of a peer, but only if the kernel proves which process that is: never on the mere
/// claim of a number. Signal 0 only checks that. Throws PeerGone if there is no such peer or its process has ended,
/// UsageError for a number that is no signal, SystemError if the signal is not permitted, and Error if nothing
/// proves the process from here, or the peer belongs to this process.
void signal_peer(const Client& client, std::string_view name, int signal);

}  // namespace ipcm
