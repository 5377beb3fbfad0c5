#include "transport/directory/directory_transport.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/directory.h"
#include "os/process.h"
#include "transport/directory/removal.h"
#include "transport/directory/standing.h"
#include "transport/presence/mark_file.h"
#include "transport/presence/ownership.h"
#include "transport/presence/peer_locks.h"
#include "transport/presence/statistics_file.h"
#include "wire/frame.h"

namespace ipcm::transport {

DirectoryTransport::DirectoryTransport(const JoinRequest& request, Loop& loop, Receiver& receiver,
                                       const Protocol& protocol, Route route)
    : request_(request),
      loop_(loop),
      receiver_(receiver),
      route_(std::move(route)),
      protocol_(protocol),
      foreign_(loop, [this] { receiver_.peers_changed(); }),
      following_(
          loop,
          [this](const std::string& why) { receiver_.dropped("peers can't be watched for now: " + why); },
          [this] { follow_peers(); }) {
  is_marked_ = has_mark(route_.directory());
}

void DirectoryTransport::claim() {
  if (request_.anonymous) return;
  registration_ = route_.claim(request_.name, request_.note(), request_.reconnect);
  has_requeued_ = route_.directory().look(registration_.disk_name + ".resume").kind == os::FileKind::regular;
}

void DirectoryTransport::announce() {
  if (request_.anonymous) return;
  route_.announce(registration_);
  joined_ = true;
}

void DirectoryTransport::give_up_registration() noexcept {
  if (registration_.lock) route_.vacate(registration_, {});
}

void DirectoryTransport::leave_silently() noexcept {
  if (joined_ && registration_.lock) route_.vacate(registration_, {});
}

void DirectoryTransport::requeue(const std::vector<Message>& messages) {
  if (messages.empty()) return;
  if (!joined_) {
    kept_.insert(kept_.end(), messages.begin(), messages.end());
    return;
  }
  std::string bytes;
  for (const Message& message : messages) {
    const std::string payload = request_.serializer->write(message);
    const auto head = wire::frame_header(payload.size());
    bytes.append(head.data(), head.size()).append(payload);
  }
  route_.directory().append_to_file(registration_.disk_name + ".resume", bytes);
  has_requeued_ = true;
}

bool DirectoryTransport::deliver_requeued() {
  const auto kept = std::exchange(kept_, {});
  for (const Message& message : kept) receiver_.received(message);
  if (!std::exchange(has_requeued_, false)) return !kept.empty();
  constexpr std::size_t kLargest = 1024UL * 1024 * 1024;
  const std::string file = registration_.disk_name + ".resume";
  const auto bytes = route_.directory().read_file(file, kLargest);
  if (!bytes) return !kept.empty();
  const std::string_view fresh = std::string_view(*bytes).substr(std::min(requeued_read_, bytes->size()));
  wire::FrameReader reader;
  const auto room = reader.room(fresh.size());
  fresh.copy(room.data(), fresh.size());
  reader.filled(fresh.size());
  std::string_view payload;
  while (reader.next(payload) == wire::FrameReader::Next::frame) {
    try {
      Message message = request_.serializer->read(payload, request_.name);
      if (protocol_.keeps_messages()) requeued_open_.insert(message.id);
      receiver_.received(std::move(message));
    } catch (const ProtocolError& error) {
      receiver_.dropped(std::string("a message that was put back was dropped: ") + error.what());
    }
  }
  if (reader.in_mid_frame())
    receiver_.dropped("the end of a file of messages put back can't be read: " + file);
  requeued_read_ = bytes->size();
  if (requeued_open_.empty()) forget_requeued();
  return true;
}

void DirectoryTransport::acknowledge(const std::vector<std::string>& ids) {
  if (requeued_read_ == 0) return;
  for (const std::string& id : ids)
    if (const auto open = requeued_open_.find(id); open != requeued_open_.end()) requeued_open_.erase(open);
  if (requeued_open_.empty()) forget_requeued();
}

void DirectoryTransport::forget_requeued() {
  const std::string file = registration_.disk_name + ".resume";
  const std::size_t done = std::exchange(requeued_read_, 0);
  if (has_requeued_) {  // more was put back meanwhile
    constexpr std::size_t kLargest = 1024UL * 1024 * 1024;
    const auto bytes = route_.directory().read_file(file, kLargest);
    if (bytes && bytes->size() > done) {
      route_.directory().write_file(file, std::string_view(*bytes).substr(done));
      return;
    }
  }
  route_.directory().remove_file(file);
}

std::vector<std::string> DirectoryTransport::peers() {
  std::vector<std::string> names;
  const auto found_dead = [this](const std::string& peer, const PeerFacts& facts) {
    receiver_.found_dead(peer, facts);
  };
  for (auto& listed : route_.list(Route::Leftovers::clear, found_dead))
    if (listed.name != request_.name || !joined_) names.push_back(std::move(listed.name));
  return names;
}

PeerFacts DirectoryTransport::look(const std::string& peer) { return route_.look(peer); }

void DirectoryTransport::watch_peers() {
  if (directory_watch_) return;
  directory_watch_ = std::make_unique<os::DirectoryWatch>(route_.directory().short_path("."));
  watching_ = loop_.watch(directory_watch_->fd(), EPOLLIN, [this](std::uint32_t) {
    bool changed = false;
    directory_watch_->read([&](std::string_view) { changed = true; });
    if (!changed) return;
    receiver_.peers_changed();
    follow_peers();
  });
  watch_foreign_deaths();
}

bool DirectoryTransport::has_bus() {
  if (is_marked_) return has_mark(route_.directory());
  return os::look_at(request_.info.route).kind == os::FileKind::directory;
}

void DirectoryTransport::follow_peers() {
  (void)following_.attempt([this] {
    look_after_links();
    watch_foreign_deaths();
  });
}

void DirectoryTransport::note_own_place() {
  if (!joined_ || own_place_) return;
  own_place_.emplace(loop_, route_.directory(),
                     std::vector<std::string>{lock_file_of(registration_.disk_name), registration_.disk_name},
                     [this](const std::string& why) { receiver_.bus_ended(why); });
}

void DirectoryTransport::look_at_own_place() {
  if (own_place_) own_place_->look();
}

void DirectoryTransport::watch_own_place() {
  if (own_place_) own_place_->watch();
}

void DirectoryTransport::watch_foreign_deaths() {
  // The death of a peer of ours shows in the directory; one without a lock is watched as a process. A
  // member that has asked a dead peer must see that it is dead, and not only absent: a process that lists
  // the peers removes its leftovers.
  foreign_.follow(list_foreign());
}

std::vector<ProcessWatch::Peer> DirectoryTransport::list_foreign() {
  std::vector<ProcessWatch::Peer> foreign;
  for (const auto& listed : route_.list(Route::Leftovers::leave))
    if (!listed.has_lock && listed.facts.state == PeerFacts::State::active && !listed.facts.elsewhere)
      foreign.push_back({listed.name, listed.facts.pid});
  return foreign;
}

std::map<std::string, Statistics> DirectoryTransport::all_statistics() {
  return route_.all_statistics(*request_.serializer);
}

void DirectoryTransport::leave(const Statistics& statistics) {
  const bool counted = !statistics.sent.empty() || !statistics.read.empty();
  if (request_.anonymous && counted) {
    try {
      route_.directory().write_file(route_.disk_name(request_.name) + ".stats",
                                    write_statistics(statistics, *request_.serializer));
    } catch (const Error&) {
      // The route is being removed.
    }
  }
  if (!joined_) return;
  joined_ = false;
  own_place_.reset();
  stop_listening();
  route_.vacate(registration_, counted ? write_statistics(statistics, *request_.serializer) : std::string(),
                [this] { close_endpoint(); });
  close_links();
}

void DirectoryTransport::suspend(const Statistics& statistics, std::optional<double> expires) {
  if (!protocol_.keeps_messages())
    throw BusError("'" + request_.name + "' can't suspend: protocol " + protocol_.name() +
                   " keeps no messages for an absent member; disconnect and join again");
  if (!joined_) throw UsageError("'" + request_.name + "' can't suspend: it has no place on the bus");
  joined_ = false;
  own_place_.reset();
  stop_listening();
  route_.suspend(registration_, write_statistics(statistics, *request_.serializer), expires);
  close_links();
}

// ---- the protocol's side

namespace {

/// Prepares a directory that the caller has named: a bus of this protocol, or an empty directory.
std::string take_route(const std::string& given, const std::string& protocol) {
  if (os::look_at(given).kind != os::FileKind::directory)
    throw BusError("the route '" + given + "' is no directory; make it first (mode 0700)");
  const os::Directory directory(given);
  const os::FileFacts facts = directory.facts();
  if (facts.owner != os::own_user())
    throw BusError("the route '" + given + "' belongs to user " + std::to_string(facts.owner) +
                   ", not to us");
  expect_private(given, facts);
  const Standing standing = standing_of(directory);
  const std::string refused = "the route '" + given + "' can't be used: ";
  switch (standing.is) {
    case Standing::Is::no_bus:
      throw BusError(refused + standing.why_not + "; give an empty directory of mode 0700, or none");
    case Standing::Is::closed:
      throw BusError(refused + "the bus there is being taken down; `ipcm bus rm` goes on with that");
    case Standing::Is::ours:
      if (standing.info->protocol != protocol)
        throw BusError(refused + "it is a bus of protocol " + standing.info->protocol);
      break;
    case Standing::Is::unfinished:
      if (owner_by_lock(given, kOwnerFile).held)
        throw BusError(refused + "another process is making a bus of it");
      [[fallthrough]];
    case Standing::Is::reference:
    case Standing::Is::empty:
      directory.write_file(kFoundFile, "",
                           0600);  // before the mark, so that it is never taken for one of ours
      break;
  }
  return given.starts_with('/') ? given : directory.real_path();
}

}  // namespace

std::string DirectoryProtocol::make_route(const SpawnOptions& options) const {
  if (!options.route.empty()) return take_route(options.route, name());
  const std::string parent =
      options.parent_directory.empty() ? os::runtime_directory() : options.parent_directory;
  return os::make_private_directory(parent, "ipcm-" + std::to_string(os::own_pid()) + "-");
}

Removal DirectoryProtocol::remove_route(const BusInfo& info, Living living) const noexcept {
  return remove_bus_directory(info, endpoints(), living);
}

std::unique_ptr<Ownership> DirectoryProtocol::own(const BusInfo& info) const {
  return own_by_lock(info.route, kOwnerFile);
}

OwnerFacts DirectoryProtocol::owner(const BusInfo& info) const {
  return owner_by_lock(info.route, kOwnerFile);
}

}  // namespace ipcm::transport
