#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ipcm/bus_info.h"

namespace ipcm {

// What a launcher keeps beside a bus to start a service again: `.N.params` (docs/bus.md, "Files"), a text of the
// launcher's own. Only the user can read it (mode 0600). It is removed with the bus.

/// Stores the text for a service, in place of an earlier one. Throws SystemError, and BusError for a route that is no
/// bus.
void store_service_parameters(const BusInfo& info, std::string_view service, std::string_view text);
/// Returns the stored text; nullopt: there is none, or another user has written it. Throws SystemError if this process
/// has no memory or descriptor left.
[[nodiscard]] std::optional<std::string> stored_service_parameters(const BusInfo& info,
                                                                   std::string_view service);
/// Removes the stored text: the service was ended on purpose.
void forget_service_parameters(const BusInfo& info, std::string_view service) noexcept;

}  // namespace ipcm
