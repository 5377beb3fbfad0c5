#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "bus/member.h"
#include "ipcm/bus_info.h"

namespace ipcm::bus {

/// Returns the name of a command that is on a bus for a moment: "ipcm-PID-XXXXXX".
[[nodiscard]] std::string transient_client_name();

[[nodiscard]] bool is_transient_client(std::string_view name);

/// Returns whether transient clients store their statistics when they leave. On a bus of the reference they
/// do: its sanity check needs the statistics of every peer. On a bus of this library they do not: its check
/// works without, and the bus may see millions of them.
[[nodiscard]] bool transient_clients_count(const BusInfo& info);

/// Joins a bus as a transient client, unseen by its peers. Throws BusError, also for a failed system call.
[[nodiscard]] std::shared_ptr<Member> join_unseen(const BusInfo& info);

}  // namespace ipcm::bus
