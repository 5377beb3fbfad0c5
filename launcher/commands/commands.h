#pragma once

#include <memory>

#include "bus/member.h"
#include "exit_status.h"
#include "options.h"

// One verb, one function, one file. To add a verb: its file, a line here, one in main.cc's table, and its
// words in options.cc. A command returns its exit status and throws ipcm::Error for what goes wrong.

namespace ipcm::launcher {

int run(const Options& options);
int session(const Options& options);
int bus_new(const Options& options);
int bus_rm(const Options& options);
int bus_ls(const Options& options);
int bus_info(const Options& options);
int bus_gc(const Options& options);
int bus_protocols(const Options& options);
int start(const Options& options);
int stop(const Options& options);
int logs(const Options& options);
int ps(const Options& options);
int types(const Options& options);
int request(const Options& options);
int send(const Options& options);
int broadcast(const Options& options);

/// A member of the bus that nobody sees: it can send and look around, ask where answers come on the asker's
/// own connection, and leaves no trace. With a mailbox it is seen, and can ask anywhere.
enum class Visit { unseen, with_mailbox };
[[nodiscard]] std::unique_ptr<bus::Member> visit(const Options& options, Visit how = Visit::unseen);
/// Throws it again, with the name on the bus that was probably meant. Call it where it was caught.
[[noreturn]] void suggest_peer(const PeerGone& gone, bus::Member& member);
/// What run and start share: a service by exec, its streams in a log of its own.
[[nodiscard]] ServiceOptions service_options(const Options& options);

}  // namespace ipcm::launcher
