// ipcm request, send, broadcast: send messages to members of a bus.

#include "client/pending_requests.h"
#include "commands/commands.h"
#include "os/time_limit.h"
#include "report.h"

namespace ipcm::launcher {
namespace {

/// The time to send the queued messages before the client leaves.
constexpr auto kFlushTime = std::chrono::seconds(5);

std::vector<Content> contents_of(const std::vector<std::string>& words, const char* what) {
  std::vector<Content> all;
  all.reserve(words.size());
  for (const std::string& word : words) all.push_back(json_from(word, what));
  return all;
}

}  // namespace

int request(const Options& options) {
  const auto contents = contents_of(options.words, "request");
  auto member = visit(options);
  // On such a protocol, answers come to the mailbox of the requester.
  if (!member->transport().keeps_links() || member->protocol().keeps_messages()) {
    member.reset();
    member = visit(options, Visit::with_mailbox);
  }
  bus::Member& here = *member;
  client::PendingRequests requests(std::move(member), client::PendingRequests::IncomingRequests::whole);
  auto deadline = os::TimeLimit::current();  // the limit of the first request includes the join
  try {
    for (const Content& content : contents) {
      print_answer(requests.ask(options.name, content, deadline));
      deadline = os::Deadline::limit(options.limit(kNoLimit));
    }
  } catch (const PeerGone& gone) {
    suggest_peer(gone, here);
  }
  return number(Status::done);
}

int send(const Options& options) {
  const auto contents = contents_of(options.words, "message");
  const auto member = visit(options);
  try {
    for (const Content& content : contents) (void)member->sender().send(options.name, content);
  } catch (const PeerGone& gone) {
    suggest_peer(gone, *member);
  }
  member->leave(os::Deadline::after(kFlushTime));
  return number(Status::done);
}

int broadcast(const Options& options) {
  const auto contents = contents_of(options.words, "message");
  const auto member = visit(options);
  for (const Content& content : contents) member->sender().broadcast(content).expect_sent();
  member->leave(os::Deadline::after(kFlushTime));
  return number(Status::done);
}

}  // namespace ipcm::launcher
