#include "transport/local_memory/local_memory.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "ipcm/error.h"
#include "os/descriptor.h"
#include "os/process.h"
#include "os/random.h"
#include "transport/local_memory/protocol.h"
#include "transport/presence/disk_name.h"
#include "wire/envelope.h"
#include "wire/frame.h"

namespace ipcm::transport {
namespace {

std::shared_ptr<LocalBus> expect_bus(const std::string& route) {
  auto bus = find_local_bus(route);
  if (!bus)
    throw BusError(
        "there is no bus '" + route +
        "' in this process; with protocol LocalMemory, a bus lives inside the process that made it");
  return bus;
}

std::size_t size_of(const Message& message) { return sizeof message + message.content.size(); }

}  // namespace

LocalMemory::LocalMemory(const JoinRequest& request, Loop& loop, Receiver& receiver)
    : request_(request),
      receiver_(receiver),
      born_in_(os::generation()),
      bus_(expect_bus(request.info.route)),
      registration_(std::make_shared<LocalBus::Registration>()) {
  if (!request.anonymous) {
    check_peer_name(request.name);
    registration_->name = request.name;
    registration_->note = request.note();
  }
  waking_ = loop.watch(registration_->wake.fd(), EPOLLIN, [this](std::uint32_t) { on_wake(); });
  const std::lock_guard<std::mutex> guard(bus_->mutex);
  if (bus_->find(registration_->name) != nullptr)
    throw NameTaken(request.name, os::own_pid(), request.info.route);
  if (const auto before = bus_->statistics.find(registration_->name); before != bus_->statistics.end())
    past_ = before->second;
  bus_->registrations.push_back(registration_);
  bus_->tell_watchers();
}

LocalMemory::~LocalMemory() {
  if (born_in_ == os::generation()) (void)give_up_registration(nullptr);
}

std::deque<Message> LocalMemory::give_up_registration(const Statistics* statistics) noexcept {
  if (!registration_) return {};
  waking_.stop();
  const std::lock_guard<std::mutex> guard(bus_->mutex);
  std::erase(bus_->registrations, registration_);
  if (statistics != nullptr && !registration_->name.empty() &&
      !(statistics->sent.empty() && statistics->read.empty()))
    bus_->statistics[registration_->name] = *statistics;
  bus_->tell_watchers();
  auto left = std::move(registration_->arrived);
  registration_.reset();
  return left;
}

Transport::SendResult LocalMemory::send(const Message& message) {
  // Fails as on any bus with that serializer, though nothing is written here.
  if (message.content.is_bytes() && !request_.serializer->carries_bytes()) wire::refuse_bytes();
  if (message.content.size() > wire::kLargestFrame)
    throw ProtocolError("a message of " + std::to_string(message.content.size()) + " bytes to '" +
                        message.to + "' is larger than the limit of " + std::to_string(wire::kLargestFrame));
  const std::lock_guard<std::mutex> guard(bus_->mutex);
  LocalBus::Registration* to = bus_->removed ? nullptr : bus_->find(message.to);
  if (to == nullptr) {
    return {Sent::gone,
            bus_->removed ? "the bus was taken down" : "no such peer on the bus " + request_.info.route};
  }
  if (to->bytes > 0 && to->bytes + size_of(message) > kLargestQueue) {
    return {Sent::full, "it does not read: " + std::to_string(to->arrived.size()) + " messages, " +
                            std::to_string(to->bytes) + " bytes wait for it already"};
  }
  to->bytes += size_of(message);
  to->arrived.push_back(message);
  to->wake.notify();
  return Sent::done;
}

void LocalMemory::on_wake() {
  bool changed = false, removed = false;
  {
    const std::lock_guard<std::mutex> guard(bus_->mutex);
    registration_->wake.acknowledge();
    changed = std::exchange(registration_->peers_changed, false);
    removed = bus_->removed;
  }
  if (receiving_) take_in();
  if (changed) receiver_.peers_changed();
  if (removed && !std::exchange(has_told_end_, true))
    receiver_.bus_ended("the bus '" + request_.info.route + "' was taken down");
}

void LocalMemory::take_in() {
  if (!registration_) return;
  std::deque<Message> arrived;
  {
    const std::lock_guard<std::mutex> guard(bus_->mutex);
    arrived.swap(registration_->arrived);
    registration_->bytes = 0;
  }
  for (Message& message : arrived) receiver_.received(std::move(message));
}

void LocalMemory::drain() {
  if (!registration_) return;
  std::vector<Message> put_back;
  if (!keeps_requeued_) {
    const std::lock_guard<std::mutex> guard(bus_->mutex);
    if (const auto found = bus_->put_back.find(request_.name); found != bus_->put_back.end()) {
      put_back = std::move(found->second);
      bus_->put_back.erase(found);
    }
  }
  for (Message& message : put_back) receiver_.received(std::move(message));
  take_in();
}

void LocalMemory::receive(bool on) {
  receiving_ = on;
  if (on && registration_) registration_->wake.notify();
}

void LocalMemory::requeue(const std::vector<Message>& messages) {
  const std::lock_guard<std::mutex> guard(bus_->mutex);
  auto& put_back = bus_->put_back[request_.name];
  put_back.insert(put_back.end(), messages.begin(), messages.end());
}

std::vector<std::string> LocalMemory::peers() {
  std::vector<std::string> names;
  const std::lock_guard<std::mutex> guard(bus_->mutex);
  if (bus_->removed) return names;
  for (const auto& registration : bus_->registrations)
    if (!registration->name.empty() && registration != registration_) names.push_back(registration->name);
  std::sort(names.begin(), names.end());
  return names;
}

PeerFacts LocalMemory::look(const std::string& peer) {
  PeerFacts facts;
  const std::lock_guard<std::mutex> guard(bus_->mutex);
  const LocalBus::Registration* registration = bus_->removed ? nullptr : bus_->find(peer);
  if (registration == nullptr) return facts;
  facts.state = PeerFacts::State::active;
  facts.pid = os::own_pid();
  facts.is_us = true;
  facts.class_name = registration->note.class_name;
  facts.is_inspectable = registration->note.is_inspectable;
  return facts;
}

void LocalMemory::watch_peers() {
  if (!registration_) return;
  const std::lock_guard<std::mutex> guard(bus_->mutex);
  registration_->watches = true;
}

std::map<std::string, Statistics> LocalMemory::all_statistics() {
  const std::lock_guard<std::mutex> guard(bus_->mutex);
  return bus_->statistics;
}

void LocalMemory::leave(const Statistics& statistics) {
  // Messages that have arrived are still read; later senders get an error.
  for (Message& message : give_up_registration(&statistics)) receiver_.received(std::move(message));
}

void LocalMemory::suspend(const Statistics&, std::optional<double>) {
  throw BusError("'" + request_.name +
                 "' can't suspend: protocol LocalMemory keeps no messages for an absent member; disconnect "
                 "and join again");
}

bool LocalMemory::is_orphaned() {
  const std::lock_guard<std::mutex> guard(bus_->mutex);
  return bus_->removed || (bus_->owner.exists && !bus_->owner.held);
}

bool LocalMemory::has_bus() {
  const std::lock_guard<std::mutex> guard(bus_->mutex);
  return !bus_->removed;
}

namespace {

class LocalOwnership final : public Ownership {
 public:
  explicit LocalOwnership(std::shared_ptr<LocalBus> bus) : bus_(std::move(bus)), born_in_(os::generation()) {
    const std::lock_guard<std::mutex> guard(bus_->mutex);
    bus_->owner = {true, true, os::own_pid()};
  }
  ~LocalOwnership() override { let_go(true); }
  LocalOwnership(const LocalOwnership&) = delete;
  LocalOwnership& operator=(const LocalOwnership&) = delete;
  void release() noexcept override { let_go(false); }

 private:
  void let_go(bool leaves_orphan) noexcept {
    if (released_ || born_in_ != os::generation()) return;
    released_ = true;
    const std::lock_guard<std::mutex> guard(bus_->mutex);
    bus_->owner = {leaves_orphan, false, leaves_orphan ? os::own_pid() : 0};
    bus_->tell_watchers();
  }
  std::shared_ptr<LocalBus> bus_;
  std::uint32_t born_in_;
  bool released_ = false;
};

class LocalMemoryProtocol final : public Protocol {
 public:
  [[nodiscard]] const char* name() const override { return "LocalMemory"; }
  [[nodiscard]] const char* summary() const override {
    return "queues in memory, for clients of one process; no services";
  }
  [[nodiscard]] std::string why_not_viable() const noexcept override { return {}; }
  [[nodiscard]] bool keeps_messages() const override { return false; }
  [[nodiscard]] bool within_one_process() const override { return true; }
  [[nodiscard]] std::string make_route(const SpawnOptions& options) const override {
    constexpr std::size_t kLetters = 8;
    std::string route = options.route.empty()
                            ? "ipcm-" + std::to_string(os::own_pid()) + "-" + os::random_name(kLetters)
                            : options.route;
    add_local_bus(route);
    return route;
  }
  Removal remove_route(const BusInfo& info, Living /*living*/) const noexcept override {
    remove_local_bus(info.route);
    return true;
  }
  [[nodiscard]] std::unique_ptr<Ownership> own(const BusInfo& info) const override {
    return std::make_unique<LocalOwnership>(expect_bus(info.route));
  }
  [[nodiscard]] OwnerFacts owner(const BusInfo& info) const override {
    const auto bus = find_local_bus(info.route);
    if (!bus) return {};
    const std::lock_guard<std::mutex> guard(bus->mutex);
    return bus->owner;
  }
  [[nodiscard]] std::unique_ptr<Transport> join(const JoinRequest& request, Loop& loop,
                                                Receiver& receiver) const override {
    return std::make_unique<LocalMemory>(request, loop, receiver);
  }
};

}  // namespace

const Protocol& local_memory_protocol() {
  static const LocalMemoryProtocol protocol;
  return protocol;
}

}  // namespace ipcm::transport
