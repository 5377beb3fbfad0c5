// ipcm request, send, broadcast: send messages to members of a bus.

#include "commands/commands.h"
#include "report.h"

namespace ipcm::launcher {
namespace {

/// Leaves after the queued messages are sent. Messages to this client are nobody's.
void leave(Client& client) {
  client.disconnect([](const Message&) {});
}

std::vector<Content> contents_of(const std::vector<std::string>& words, const char* what) {
  std::vector<Content> all;
  all.reserve(words.size());
  for (const std::string& word : words) all.push_back(json_from(word, what));
  return all;
}

}  // namespace

int request(const Options& options) {
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
