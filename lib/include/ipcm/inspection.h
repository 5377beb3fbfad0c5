#pragma once

// What a service of this library says about itself. A client asks:
//
//     ipcm::Client client = ipcm::ipcm_connect_anonymous(info);
//     const ipcm::Inspection facts = ipcm::inspect(client, "g", 5s);
//     std::printf("%llu requests are open\n", static_cast<unsigned long long>(facts.requests.open));
//
// The service answers by itself, between two handlers: no code of its class sees the request. A service whose handler
// runs for long, or whose process is stopped, does not answer. Each peer of a bus may ask; all belong to one user.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/basics.h"
#include "ipcm/client.h"
#include "ipcm/content.h"

namespace ipcm {

/// The facts of a service, as it has told them: all of them are its claims.
struct Inspection {
  using TimePoint = std::chrono::system_clock::time_point;
  struct Requests {
    std::uint64_t answered = 0;  ///< Answered with a value.
    /// Answered with an error, or not answered since the requester had left or the answer was too large.
    std::uint64_t failed = 0;
    std::uint64_t open = 0;  ///< Taken and not answered yet (`later`).
  };
  struct Messages {
    /// Messages of all kinds, also requests and answers, those of earlier services of that name included.
    std::uint64_t received = 0, sent = 0;
    /// Read from the bus, and not handled yet. Messages that the service has not read (in a socket, or a mailbox) are
    /// not known here.
    std::uint64_t waiting = 0;
  };
  struct Process {
    std::string name;
    Pid pid = 0;
  };
  struct Failure {
    std::string text;  ///< What failed, and the error; one line, at most 3 KiB.
    TimePoint time;
  };

  std::string name;
  std::string class_name;            ///< Empty: a service of callbacks.
  Pid pid = 0;                       ///< In its own pid namespace.
  std::optional<TimePoint> started;  ///< The start of its process.
  std::optional<TimePoint> ready;    ///< When it was ready.
  Requests requests;
  Messages messages;
  /// Its parameters, a JSON object with keys of the boot contract (docs/boot.md); keys with their default values are left
  /// out, and `args` of more than 64 KiB, for which `args_bytes` has the size. Null: it was started with
  /// ServiceOptions::secret.
  Content parameters;
  std::vector<Process> services;  ///< The services that it has started, and that run.
  std::vector<Process> workers;   ///< See Service::ipcm_worker().
  /// The last error of a handler or another callback; nullopt: there was none.
  std::optional<Failure> last_failure;
  Content document;  ///< The whole answer, a JSON object: also with facts that a later version tells.
};

inline constexpr Duration kInspectionLimit = std::chrono::seconds(5);

/// Asks a service for its facts. Sends nothing to a peer that does not announce on the bus that it understands this:
/// to one of another library, a client, or a service of an earlier version; throws UsageError for those. Throws
/// PeerGone if it is not on the bus, starts, is suspended or ends meanwhile; Timeout if it does not answer in time;
/// ProtocolError if its answer is none.
[[nodiscard]] Inspection inspect(Client& client, std::string_view name, Duration limit = kInspectionLimit);

/// The result for one of several services.
struct Inspected {
  enum class Outcome {
    answered,
    silent,   ///< It has not answered in time.
    refused,  ///< It was not asked, or its answer is none; `why` tells the reason.
    gone,     ///< It is not on the bus, or ended before it answered.
  };
  Outcome outcome = Outcome::refused;
  std::optional<Inspection> facts;  ///< If it has answered.
  std::string why;                  ///< Otherwise: the reason, for people.
};
/// Asks several services at the same time, all with the same limit. Returns an entry for each name. Throws BusError if
/// the bus is removed meanwhile.
[[nodiscard]] std::map<std::string, Inspected> inspect_all(Client& client,
                                                           const std::vector<std::string>& names,
                                                           Duration limit = kInspectionLimit);

}  // namespace ipcm
