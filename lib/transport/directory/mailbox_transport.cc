#include "transport/directory/mailbox_transport.h"

#include <sys/epoll.h>

#include <utility>

#include "ipcm/error.h"
#include "wire/frame.h"
#include "wire/printable.h"

namespace ipcm::transport {
namespace {

/// The channels that are kept open for further messages. A service has many requesters in its life, and
/// nothing shows when they have left.
constexpr std::size_t kMostIdle = 64;

}  // namespace

MailboxTransport::MailboxTransport(const JoinRequest& request, Loop& loop, Receiver& receiver,
                                   const Protocol& protocol, Route route, os::FileKind endpoint)
    : DirectoryTransport(request, loop, receiver, protocol, std::move(route)),
      endpoint_(endpoint),
      taking_in_(
          loop,
          [this](const std::string& why) { receiver_.dropped("the mailbox can't be read for now: " + why); },
          [this] { reading_.want(receiving_ ? std::uint32_t{EPOLLIN} : 0U); }) {}

void MailboxTransport::join() {
  if (request_.anonymous) return;
  claim();
  try {
    mailbox_ = make_mailbox(registration_.disk_name);
    reading_ = loop_.watch(mailbox_.get(), EPOLLIN, [this](std::uint32_t) {
      const bool done = taking_in_.attempt([this] {
        (void)deliver_requeued();
        take_in(Share::fair);
      });
      if (!done) reading_.want(0);  // until it is tried again
    });
    announce();
  } catch (...) {
    give_up_registration();
    throw;
  }
}

// ---- sending

MailboxTransport::Linked MailboxTransport::link_to(const std::string& peer) {
  const std::string file = route_.disk_name(peer);
  const os::FileFacts facts = route_.directory().look(file);
  if (const auto found = links_.find(peer); found != links_.end()) {
    Link& link = found->second;
    if (link.device == facts.device && link.inode == facts.inode) {
      link.used = ++uses_;
      last_link_ = link.id;
      return {&link};
    }
    lose(peer, "it has left the bus");
  }
  if (facts.kind == os::FileKind::none) {
    return {nullptr, "no such peer on the bus " + route_.directory().path()};
  }
  if (facts.kind != endpoint_ || !route_.directory().is_trusted(facts)) {
    return {nullptr, "what stands under its name is no endpoint of this protocol, or of another user"};
  }
  auto channel = open_channel(peer, file);
  if (!channel) {
    return {nullptr, "its process is gone"};
  }
  close_one_idle();
  Link& link = links_[peer];
  link.channel = std::move(channel);
  link.device = facts.device;
  link.inode = facts.inode;
  link.used = ++uses_;
  last_link_ = link.id = ++last_id_;
  return {&link};
}

void MailboxTransport::look_after_links() {
  // A peer that left and joined again, in one process, has another mailbox.
  std::vector<std::string> replaced;
  for (const auto& [peer, link] : links_) {
    const os::FileFacts facts = route_.directory().look(route_.disk_name(peer));
    if (facts.kind == endpoint_ && (facts.device != link.device || facts.inode != link.inode))
      replaced.push_back(peer);
  }
  for (const std::string& peer : replaced) lose(peer, "it has left the bus");
}

void MailboxTransport::close_one_idle() {
  if (links_.size() < kMostIdle) return;
  auto oldest = links_.end();
  for (auto at = links_.begin(); at != links_.end(); ++at)
    if (at->second.queue.empty() && (oldest == links_.end() || at->second.used < oldest->second.used))
      oldest = at;
  if (oldest != links_.end()) links_.erase(oldest);
}

Transport::SendResult MailboxTransport::send(const Message& message) {
  std::string payload = request_.serializer->write(message);
  if (payload.size() > wire::kLargestFrame)
    throw ProtocolError("a message of " + std::to_string(payload.size()) + " bytes to '" + message.to +
                        "' is larger than the limit of " + std::to_string(wire::kLargestFrame));
  // Only sending shows that a reader is gone. Then one more channel is tried, since the peer may have a
  // successor of its name.
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto [link, why] = link_to(message.to);
    if (link == nullptr) return {Sent::gone, std::move(why)};
    link->channel->expect_fits(payload);
    if (!link->queue.empty() && link->queued_bytes + payload.size() > kLargestQueue) {
      return {Sent::full, "it does not read: " + std::to_string(link->queue.size()) + " messages, " +
                              std::to_string(link->queued_bytes) + " bytes wait for it already"};
    }
    const auto put = link->queue.empty() ? link->channel->put(payload) : Channel::Put::later;
    if (put == Channel::Put::done) return Sent::done;
    if (put == Channel::Put::later) {
      const bool waited = !link->queue.empty();
      link->queued_bytes += payload.size();
      link->queue.push_back(std::move(payload));
      if (waited) return Sent::queued;
      try {
        wait_for_room(message.to, *link);
      } catch (...) {
        links_.erase(message.to);  // a part of the message may have been sent
        throw;
      }
      return Sent::queued;
    }
    links_.erase(message.to);
  }
  return {Sent::gone, "its process is gone"};
}

void MailboxTransport::wait_for_room(const std::string& peer, Link& link) {
  const Channel::Wait wait = link.channel->waits_for();
  link.watch = loop_.watch(wait.fd, wait.events, [this, peer](std::uint32_t) { flush(peer); });
}

void MailboxTransport::flush(const std::string& peer) {
  const auto found = links_.find(peer);
  if (found == links_.end()) return;
  Link& link = found->second;
  link.watch.stop();  // put() may close the descriptor that it waits on
  while (!link.queue.empty()) {
    auto put = Channel::Put::done;
    try {
      put = link.channel->put(link.queue.front());
    } catch (const Error& error) {
      receiver_.dropped("a message to '" + wire::printable_name(peer) +
                        "' was not delivered: " + error.what());
    }
    if (put == Channel::Put::later) {
      try {
        wait_for_room(peer, link);
      } catch (const SystemError& error) {
        lose(peer, error.what());
      }
      return;
    }
    if (put == Channel::Put::gone) {
      lose(peer, "its process is gone");
      return;
    }
    link.queued_bytes -= link.queue.front().size();
    link.queue.pop_front();
  }
}

void MailboxTransport::lose(const std::string& peer, const std::string& why) {
  const auto link = links_.extract(peer);
  if (link.empty()) return;
  if (const auto waiting = link.mapped().queue.size(); waiting > 0) receiver_.undelivered(peer, waiting, why);
  receiver_.connection_lost(peer, link.mapped().id);
}

std::size_t MailboxTransport::queued_bytes(const std::string& peer) const {
  const auto found = links_.find(peer);
  return found == links_.end() ? 0 : found->second.queued_bytes;
}

std::size_t MailboxTransport::queued_messages() const {
  std::size_t all = 0;
  for (const auto& [peer, link] : links_) all += link.queue.size();
  return all;
}

void MailboxTransport::abandon(const std::string& peer) { lose(peer, "they were given up"); }

// ---- receiving

void MailboxTransport::drain() {
  (void)deliver_requeued();
  if (mailbox_) take_in(Share::all);
}

void MailboxTransport::receive(bool on) {
  if (receiving_ == on) return;
  receiving_ = on;
  reading_.want(on ? std::uint32_t{EPOLLIN} : 0U);
}

void MailboxTransport::take_payload(std::string_view payload, const std::string& origin) {
  try {
    receiver_.incoming(request_.serializer->decode(payload, request_.name));
  } catch (const ProtocolError& error) {
    receiver_.dropped("a message " + origin + " was dropped: " + error.what());
  }
}

void MailboxTransport::stop_listening() {
  stop_reading();
  reading_.stop();
  mailbox_.reset();
}

void MailboxTransport::close_links() { links_.clear(); }

}  // namespace ipcm::transport
