#pragma once

#include <string>

#include "bus/member.h"
#include "handoff/handoff.h"
#include "ipcm/content.h"
#include "ipcm/inspection.h"
#include "service/service_record.h"

namespace ipcm::service {

/// Returns the parameters of a service for those that inspect it; see Inspection::parameters.
[[nodiscard]] Content shown_parameters(const handoff::Parameters& parameters);
/// Returns the facts of the service in this process, without its messages that wait, its services and its workers.
[[nodiscard]] Inspection describe_self(const handoff::Parameters& parameters, const ServiceRecord& record,
                                       bus::Member& member);

}  // namespace ipcm::service
