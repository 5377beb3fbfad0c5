#pragma once

#include <optional>
#include <string>

#include "ipcm/obituary.h"
#include "os/directory.h"
#include "transport/transport.h"

namespace ipcm::bus {

// The file of an obituary (ipcm/obituary.h), and the rules for its writers.
//
// Several processes may learn of the same death: the parent, clients that watched the process, and the one that
// removes the files of the dead service. Each writes a file of its own and gives it the name of the obituary in one
// step, so a reader finds a whole one. A writer that knows the status replaces whatever stands there. One that does
// not only adds an obituary where none stands, by a rename that replaces nothing: so it never removes a status that
// another writer has just written. An obituary of an earlier process of that name is first taken aside; if it turns out
// to be one of the same process, which another writer has put there meanwhile, it goes back.
//
// Nothing waits here, and no failure is reported: an obituary is never a reason for another operation to fail.

inline constexpr const char* kObituarySuffix = ".obituary";
/// The number of obituaries of one bus; the oldest make room.
inline constexpr std::size_t kMostObituaries = 256;
/// The longest `last_words`, in bytes.
inline constexpr std::size_t kLongestLastWords = 4096;

/// Keeps an obituary, and completes it: its end is now, and its last words are the end of its log. Does nothing if
/// another process has the name by now, if the bus is being removed or belongs to another user, or if a better
/// obituary of that process stands there. Returns whether one of that process stands there now.
bool keep_obituary(const BusInfo& info, Obituary obituary) noexcept;

/// Adds to the obituary of that process what its supervisor does next. Does nothing if there is none.
void keep_next(const BusInfo& info, const std::string& name, Pid pid, const std::string& next) noexcept;

/// Returns the time of Unix seconds, the unit of os::start_time().
[[nodiscard]] Obituary::TimePoint time_of(double unix_seconds);

/// Keeps the death of a service that a listing has found. Its status is unknown, unless its process is still
/// a zombie. Does nothing for peers that are no services.
void keep_unwitnessed_death(const BusInfo& info, const std::string& name,
                            const transport::PeerFacts& facts) noexcept;

/// Returns the obituary of that name if it is about that process, and has its status.
[[nodiscard]] std::optional<ExitStatus> status_in_obituary(const BusInfo& info, const std::string& name,
                                                           Pid pid) noexcept;

/// Returns Obituary::next of that name and process; empty: there is none.
[[nodiscard]] std::string next_in_obituary(const BusInfo& info, const std::string& name, Pid pid) noexcept;

/// Writes an obituary into a directory, by the rules above, as it is. Returns whether one of that process stands there
/// now. Throws SystemError.
bool write_obituary(const os::Directory& directory, const std::string& file, const Obituary& obituary);
/// Returns the obituary in a file; nullopt: there is none. Throws SystemError for want of memory or descriptors.
[[nodiscard]] std::optional<Obituary> read_obituary(const os::Directory& directory, const std::string& file);

}  // namespace ipcm::bus
