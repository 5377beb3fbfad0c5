#pragma once

#include <functional>
#include <memory>

#include "ipcm/service.h"
#include "ready/ready.h"
#include "service/setup.h"

namespace ipcm::service {

/// Exit statuses of a service process; docs/boot.md.
enum class Exit : int {
  usage = 64,
  bus_unavailable = 69,
  service_threw = 70,
  system_error = 71,
  output_lost = 74,  ///< --list or --help could not be written
  unknown_class = 127
};

/// The life of a service process: makes the service, joins the bus, on_start, says ready, runs, leaves.
/// Returns the exit status. Reports errors on the ready pipe until the service is ready, then on stderr.
/// Never throws.
[[nodiscard]] int serve(ServiceSetup setup, ready::Announcer announcer,
                        const std::function<std::unique_ptr<Service>(ServiceSetup)>& make) noexcept;

/// Runs a service in this process until it ends; see Service::run().
int run_here(Service& service);

}  // namespace ipcm::service
