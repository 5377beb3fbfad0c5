#include "transport/message_files/message_files.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "ipcm/error.h"
#include "os/events.h"
#include "os/random.h"
#include "transport/message_files/protocol.h"
#include "transport/presence/entries.h"
#include "wire/frame.h"

namespace ipcm::transport {
namespace {

/// A function, since message_files_protocol() may be called before the constants of this file are made.
const EndpointKinds& mailboxes() {
  static const EndpointKinds kinds = {os::FileKind::directory};
  return kinds;
}
/// The time in which a sender must finish a message while this member leaves; it takes microseconds, unless
/// the sender was killed.
constexpr auto kWritingTime = std::chrono::milliseconds(100);
/// The number of mailboxes of peers that are remembered.
constexpr std::size_t kMostOutboxes = 10'000;

bool has_unread(const os::Directory& route, const std::string& disk_name) {
  if (route.look(disk_name + ".resume").kind == os::FileKind::regular) return true;
  const auto mailbox = os::Directory::below(route, disk_name);
  return mailbox && mailbox->count_names(Mailbox::kReady) > 0;
}

Route open_route(const std::string& path) {
  return Route(path, {.longest_name = kLongestName,
                      .endpoints = mailboxes(),
                      .keeps_messages = true,
                      .has_unread = has_unread});
}

/// Returns the id, unless a caller has chosen one that cannot be a file name.
std::string file_name_for(const std::string& id) {
  const bool safe = !id.empty() && id.size() <= kLongestName && id.front() != '.' &&
                    id.find('/') == std::string::npos && id.find('\0') == std::string::npos;
  return safe ? id : os::make_uuid();
}

}  // namespace

MessageFiles::MessageFiles(const JoinRequest& request, Loop& loop, Receiver& receiver)
    : DirectoryTransport(request, loop, receiver, message_files_protocol(), open_route(request.info.route)),
      taking_in_(
          loop,
          [this](const std::string& why) { receiver_.dropped("the mailbox can't be read for now: " + why); },
          [this] {
            if (receiving_) take_in_for_loop();
          }) {
  if (request.anonymous) return;
  claim();
  const os::Directory& route = route_.directory();
  bool made = false;
  try {
    remove_closed_mailbox();  // of a member that was killed while it left
    made = route.look(registration_.disk_name).kind == os::FileKind::none;
    route.make_directory(registration_.disk_name, 0700, request.reconnect);
    auto directory = os::Directory::below(route, registration_.disk_name);
    if (!directory) throw BusError("the mailbox of '" + request.name + "' was taken away just now");
    mailbox_ = std::make_unique<Mailbox>(std::move(*directory), request_.serializer, request_.name);
    arrivals_ = std::make_unique<os::DirectoryWatch>(mailbox_->directory().short_path("."),
                                                     os::DirectoryWatch::Of::arrivals);
    arriving_ = loop_.watch(arrivals_->fd(), EPOLLIN, [this](std::uint32_t) { on_arrival(); });
    // Messages from before the watch: no event reports them.
    if (mailbox_->directory().count_names(Mailbox::kReady) > 0) look_soon();
    announce();
  } catch (...) {
    // A mailbox with messages stays for the next attempt; only a new one is removed.
    if (made && mailbox_)
      give_up_registration();
    else
      registration_.lock.release(route);
    throw;
  }
}

MessageFiles::~MessageFiles() { leave_silently(); }

Transport::SendResult MessageFiles::send(const Message& message) {
  const std::string payload = request_.serializer->write(message);
  if (payload.size() > wire::kLargestFrame)
    throw ProtocolError("a message of " + std::to_string(payload.size()) + " bytes to '" + message.to +
                        "' is larger than the limit of " + std::to_string(wire::kLargestFrame));
  const std::string disk_name = route_.disk_name(message.to);
  // Holds the mailbox open: if its owner closes it meanwhile, either the owner still finds the message, or
  // the send fails.
  const auto mailbox = os::Directory::below(route_.directory(), disk_name);
  const PeerFacts::State state = mailbox ? look(message.to).state : PeerFacts::State::absent;
  if (state == PeerFacts::State::absent) {
    return {Sent::gone, "no such peer on the bus " + route_.directory().path()};
  }
  if (state == PeerFacts::State::dead) {
    return {Sent::gone, "its process is gone"};
  }
  if (outboxes_.size() > kMostOutboxes) outboxes_.clear();
  if (!outboxes_[disk_name].has_room(*mailbox, payload.size())) {
    return {Sent::full, "it does not read: " + std::to_string(Outbox::kMostMessages) + " messages, or " +
                            std::to_string(Outbox::kMostBytes) +
                            " bytes, or more wait in its mailbox already"};
  }
  const std::string file = file_name_for(message.id);
  const std::string pending = file + std::string(Mailbox::kPending);
  try {
    mailbox->write_in_place(pending, payload);
    mailbox->rename(pending, file + std::string(Mailbox::kReady));
    return Sent::done;
  } catch (const SystemError& error) {
    mailbox->remove_file(pending);
    switch (error.code()) {
      case ENOENT:
        return {Sent::gone, "it has left just now"};
      case ENOSPC:
      case EDQUOT:
        return {Sent::full, error.what()};
      default:
        throw;
    }
  }
}

void MessageFiles::on_arrival() {
  bool ready = false;
  arrivals_->read([&](std::string_view name) { ready = ready || !name.ends_with(Mailbox::kPending); });
  if (!receiving_)
    arriving_.want(0);  // receive(true) lists the mailbox
  else if (ready)
    take_in_for_loop();
}

void MessageFiles::take_in_for_loop() {
  (void)taking_in_.attempt([this] { take_in(); });
}

void MessageFiles::take_in() {
  if (mailbox_ && mailbox_->take(receiver_) && receiving_) look_soon();
}

void MessageFiles::look_soon() {
  more_ = loop_.at(os::Clock::now(), [this] {
    if (receiving_) take_in_for_loop();
  });
}

void MessageFiles::drain() {
  (void)deliver_requeued();
  take_in();
}

void MessageFiles::receive(bool on) {
  if (receiving_ == on) return;
  receiving_ = on;
  if (!mailbox_) return;
  if (!on) {
    more_.stop();
    return;
  }
  arriving_.want(EPOLLIN);
  look_soon();
}

void MessageFiles::acknowledge(const std::vector<std::string>& ids) {
  std::vector<std::string> others;
  for (const std::string& id : ids)
    if (!mailbox_ || !mailbox_->remove(id)) others.push_back(id);
  if (!others.empty()) DirectoryTransport::acknowledge(others);
}

void MessageFiles::stop_listening() {
  arriving_.stop();
  more_.stop();
}

void MessageFiles::close_endpoint() {
  if (!mailbox_) return;
  route_.directory().rename(registration_.disk_name, closed_name());  // no peer finds it from now on
  await_pending();
  // From here on, a sender with an unfinished message gets an error.
  for (const std::string& file : mailbox_->pending()) mailbox_->directory().remove_file(file);
  if (mailbox_->take(receiver_))
    receiver_.dropped("more than " + std::to_string(Mailbox::kLargestBatch) + " bytes of messages to '" +
                      request_.name + "' were not read before it left, and were thrown away");
  remove_closed_mailbox();
}

void MessageFiles::remove_closed_mailbox() const {
  (void)remove_known_entry(route_.directory(), closed_name(), mailboxes());
}

void MessageFiles::await_pending() {
  const auto deadline = os::Deadline::after(kWritingTime);
  os::EventSet events;
  events.add(arrivals_->fd(), EPOLLIN, 0);
  std::array<epoll_event, 1> one{};
  while (!mailbox_->pending().empty() && events.wait(one, deadline) > 0)
    arrivals_->read([](std::string_view) {});
}

void MessageFiles::close_links() {
  arrivals_.reset();
  mailbox_.reset();
}

const Protocol& message_files_protocol() {
  static const DirectoryProtocolOf<MessageFiles> protocol(
      {.name = "MessageFiles",
       .summary = "a file for each message; keeps messages for absent members",
       .keeps_messages = true,
       .endpoints = mailboxes()});
  return protocol;
}

}  // namespace ipcm::transport
