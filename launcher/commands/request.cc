// ipcm request, send, broadcast: send messages to members of a bus.

#include <sys/epoll.h>

#include <utility>

#include "asking.h"
#include "commands/commands.h"
#include "content_words.h"
#include "loop/loop.h"
#include "report.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

/// Leaves after the queued messages are sent. Messages to this client are nobody's.
void leave(Client& client) {
  client.disconnect([](const Message&) {});
}

/// Asks for each line of stdin.
int ask_lines(const Options& options) {
  Client client = visit(options);
  Loop loop;
  const Watch watch = loop.watch(client.fd(), EPOLLIN, [&client](std::uint32_t) { client.dispatch(); });
  Asking asking(options, loop, options.name, {}, options.jobs.value_or(1),
                [&](const Content& request, ResponseCallback callback) {
                  try {
                    client.send_request(options.name, request, std::move(callback));
                  } catch (const PeerGone& gone) {
                    suggest_peer(gone, client);
                  }
                });
  asking.ask_all();
  return number(asking.status());
}

}  // namespace

int request(const Options& options) {
  if (options.by_lines) {
    if (!options.words.empty())
      throw UsageError("with --lines, the requests come from stdin; found '" +
                       wire::printable(options.words.front()) + "', too");
    return ask_lines(options);
  }
  if (options.jobs) throw UsageError("--jobs is for --lines: other requests are sent one after the other");
  if (options.words.empty())
    throw UsageError(
        "request: no request was given; it is JSON, @FILE, or - for stdin; with --lines, each line of stdin; "
        "try: ipcm request --help");
  const auto contents = contents_of(options.words, "request");
  Client client = visit(options);
  client.spin(options.spin);
  Duration limit = time_left();  // the limit of the first request includes the join
  try {
    for (const Content& content : contents) {
      print_answer(client.sync_request(options.name, content, limit));
      limit = options.limit(kNoLimit);
    }
  } catch (const PeerGone& gone) {
    suggest_peer(gone, client);
  }
  return number(Status::done);
}

int send(const Options& options) {
  const auto contents = contents_of(options.words, "message");
  Client client = visit(options);
  try {
    for (const Content& content : contents) client.send_message(options.name, content);
  } catch (const PeerGone& gone) {
    suggest_peer(gone, client);
  }
  leave(client);
  return number(Status::done);
}

int broadcast(const Options& options) {
  const auto contents = contents_of(options.words, "message");
  Client client = visit(options);
  for (const Content& content : contents) client.broadcast(content).expect_sent();
  leave(client);
  return number(Status::done);
}

}  // namespace ipcm::launcher
