#pragma once

#include "exit_status.h"
#include "options.h"

// The functions of the verbs; related verbs share a file. To add a verb: write its function, add the file to
// launcher/meson.build, declare the function here, and add the verb and its options to options.cc.

namespace ipcm::launcher {

int bridge(const Options& options);
int run(const Options& options);
int session(const Options& options);
int bus_new(const Options& options);
int bus_rm(const Options& options);
int bus_ls(const Options& options);
int bus_info(const Options& options);
int bus_gc(const Options& options);
int bus_protocols(const Options& options);
int events(const Options& options);
int restart(const Options& options);
int start(const Options& options);
int stop(const Options& options);
int inspect(const Options& options);
int kill(const Options& options);
int listen(const Options& options);
int logs(const Options& options);
int ps(const Options& options);
int watch_peers(const Options& options);  ///< ps --watch
int types(const Options& options);
int wait(const Options& options);
int request(const Options& options);
int send(const Options& options);
int broadcast(const Options& options);

/// Joins the bus of the options as an anonymous client. Throws BusError.
[[nodiscard]] Client visit(const Options& options);
/// Returns what is left of the time of --timeout, as the limit of a call.
[[nodiscard]] Duration time_left();
/// Throws `gone` again and adds a similar name of a peer, if there is one.
[[noreturn]] void suggest_peer(const PeerGone& gone, Client& client);
/// Returns the options that run and start share: a service by exec, with its streams in its own log.
[[nodiscard]] ServiceOptions service_options(const Options& options);
/// Starts a service on the bus of the options, as `ipcm start` does, and stores its parameters for `ipcm restart`.
/// Returns the exit status. Throws LaunchError, BusError.
[[nodiscard]] int start_service(const Options& options, const std::string& name, ServiceOptions service);
/// Ends peers of the bus, by signals if they do not end when they are asked to, and reports that. Throws Timeout.
void end_services(const Options& options, const std::vector<std::string>& names);

}  // namespace ipcm::launcher
