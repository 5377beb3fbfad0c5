#include "bus/guard.h"

#include <cerrno>
#include <utility>

#include "bus/cleave.h"
#include "bus/end_bus.h"
#include "bus/parent_directory.h"
#include "bus/sanity_check.h"
#include "bus/service_log.h"
#include "ipcm/error.h"
#include "os/descriptor.h"
#include "os/directory.h"
#include "os/time_limit.h"
#include "transport/bus_note.h"
#include "transport/protocols.h"

namespace ipcm {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text.append(text.empty() ? "'" : ", '").append(name).append("'");
  return text;
}

const transport::Protocol& first_viable(const std::vector<std::string>& wanted) {
  std::vector<std::string> names = wanted;
  if (names.empty()) names = {os::environment("IPCM_PROTOCOL").value_or("ConnectionUnix")};
  std::string why;
  for (const std::string& name : names) {
    const transport::Protocol& protocol = transport::find_protocol(name);
    const std::string reason = protocol.why_not_viable();
    if (reason.empty()) return protocol;
    why.append(why.empty() ? "" : "; ").append(name).append(": ").append(reason);
  }
  throw BusError("no bus can be made: " + why);
}

}  // namespace

bool Guard::State::acts_here() const { return !down && born_in == os::generation(); }

std::vector<StayedPeer> Guard::State::take_down(const std::vector<os::Child*>& children) {
  // The peers have `patience`. The removal after that has its own time.
  constexpr std::chrono::seconds kRemoval{10};
  const bool is_bounded = options.patience != kNoLimit && options.patience < Duration::max() - kRemoval;
  const os::TimeLimit limit(is_bounded ? os::Deadline::after(options.patience + kRemoval)
                                       : os::Deadline::never());
  // Whatever throws here leaves the bus with this guard, so that the next call goes on with it.
  bus::Ended ended = bus::end_bus(info, options, children, bus::IfSomeStay::remove_bus, [this] {
    if (options.do_sanity_check) discrepancies = bus::sanity_check(info);
  });
  if (!ended.removal)
    throw BusError("the bus at " + info.route + " could not be removed: " + ended.removal.why);
  note_removed(std::move(ended.removal.left));
  return std::move(ended.stayed);
}

void Guard::State::note_removed(std::vector<std::string> left_files) {
  down = true;
  bus::remove_logs_elsewhere(info);
  owner.reset();
  strangers = std::move(left_files);
}

void Guard::State::remove() {
  const transport::Protocol& protocol = transport::find_protocol(info.protocol);
  if (options.do_sanity_check) discrepancies = bus::sanity_check(info);
  transport::Removal removal = protocol.remove_route(info, transport::Living::spare);
  if (!removal && !removal.living.empty())
    throw BusError("the bus at " + info.route + " was not removed: '" + removal.living +
                   "' is on it; ask it to end and wait for it, or call shutdown(), which removes the bus "
                   "nevertheless");
  if (!removal) throw BusError("the bus at " + info.route + " could not be removed: " + removal.why);
  note_removed(std::move(removal.left));
}

void Guard::State::expect_owner() const {
  if (born_in != os::generation())
    throw UsageError("a bus is taken down by the process that made it, not by one forked from it");
  if (down)
    throw UsageError("the bus at " + info.route + " was taken down, or is no longer that of this guard");
}

void Guard::State::end_silently(const std::vector<os::Child*>& children) noexcept {
  try {
    (void)take_down(children);
  } catch (const std::exception&) {
    // Silent, as promised; shutdown() reports. Where peers can't be told to end, they notice that the bus is
    // gone. The owner's lock is let go first: its descriptors may be all that is missing.
    owner.reset();
    (void)transport::find_protocol(info.protocol).remove_route(info);
    down = true;
  }
}

Guard::Guard(std::unique_ptr<State> state) : state_(std::move(state)) {}
Guard::Guard(Guard&&) noexcept = default;

Guard& Guard::operator=(Guard&& other) noexcept {
  if (this != &other) {
    const Guard old(std::move(*this));
    state_ = std::move(other.state_);
  }
  return *this;
}

std::unique_ptr<Guard::State> Guard::take_state(Guard guard) { return std::move(guard.state_); }

Guard::~Guard() {
  if (!state_ || !state_->acts_here() || !state_->options.guard) return;
  state_->end_silently({});
}

const BusInfo& Guard::info() const {
  if (!state_) throw UsageError("this guard was moved away");
  return state_->info;
}

void Guard::State::report(const std::vector<StayedPeer>& left) const {
  if (!left.empty())
    throw Timeout("the bus at " + info.route +
                  " was taken down, but these peers did not leave: " + describe(left));
  if (!strangers.empty())
    throw BusError("the bus at " + info.route +
                   " was taken down, but its directory stays: it holds files that are not part of a bus: " +
                   joined(strangers));
  if (discrepancies.empty()) return;
  std::string what;
  for (const Discrepancy& one : discrepancies) what.append(what.empty() ? "" : "; ").append(one.describe());
  throw Error("the bus at " + info.route + " was taken down, and not all that was sent was read: " + what);
}

std::vector<Discrepancy> Guard::sanity_check() const {
  (void)info();
  if (state_->down)
    throw UsageError("the bus at " + state_->info.route + " was taken down, its statistics with it");
  return bus::sanity_check(state_->info);
}

Pid Guard::cleave() {
  (void)info();
  if (!state_->acts_here())
    throw UsageError("a bus is handed over by the process that owns it, as long as it does");
  const Pid pid = bus::cleave(state_->info, state_->options);
  state_->down = true;
  state_->owner.reset();  // the other one's by now; ours is a lock on a file that nobody sees
  return pid;
}

void Guard::shutdown() {
  (void)info();
  if (state_->down) return;
  if (!state_->acts_here())
    throw UsageError("a bus is taken down by the process that made it, not by one forked from it");
  state_->report(state_->take_down({}));
}

void Guard::terminate() {
  (void)info();
  state_->expect_owner();
  bus::ask_to_end(state_->info, state_->options);
}

std::vector<StayedPeer> Guard::wait(Duration limit) {
  (void)info();
  state_->expect_owner();
  return bus::await_leaving(state_->info, os::Deadline::limit(limit));
}

void Guard::remove() {
  (void)info();
  state_->expect_owner();
  state_->remove();
  state_->report({});
}

void Guard::unspawn() { shutdown(); }

void Guard::release() {
  (void)info();
  if (!state_->acts_here()) return;
  if (state_->owner) state_->owner->release();
  state_->down = true;
}

namespace {

/// Throws unless a bus that was given has the serializer that was asked for, and no owner that lives.
void expect_to_be_had(const transport::Protocol& protocol, const BusInfo& info, bool to_own) {
  if (const auto marked = transport::read_mark_of(info.route);
      marked && marked->serializer != info.serializer)
    throw BusError("the bus at '" + info.route + "' has the serializer " + marked->serializer + ", not " +
                   info.serializer);
  const transport::OwnerFacts owner = to_own ? protocol.owner(info) : transport::OwnerFacts{};
  if (owner.held)
    throw BusError("the bus at '" + info.route + "' has an owner already" +
                   (owner.pid > 0 ? ", process " + std::to_string(owner.pid) : std::string()) +
                   "; only one process can be bound to take it down");
}

void make_bus(const transport::Protocol& protocol, Guard::State& state) {
  const SpawnOptions& options = state.options;
  state.info.route = protocol.make_route(options);
  const std::string& route = state.info.route;
  const bool was_there = !options.route.empty() && transport::has_route_info(route);
  try {
    if (!options.route.empty()) expect_to_be_had(protocol, state.info, options.guard);
    if (options.guard) state.owner = protocol.own(state.info);
    transport::note_route_info(state.info);
  } catch (...) {
    if (state.owner) state.owner->release();
    state.owner.reset();
    if (!options.route.empty()) {
      // A given route stays as it was: it may be a bus with members.
      if (!was_there) transport::forget_route_info(route);
    } else if (!protocol.remove_route(state.info)) {
      // A new directory goes even if there are too few descriptors to look into it.
      (void)os::remove_empty_directory(route);
    }
    throw;
  }
}

}  // namespace

Guard ipcm_spawn(const SpawnOptions& options) {
  const transport::Protocol& protocol = first_viable(options.protocols);
  auto state = std::make_unique<Guard::State>();
  state->options = options;
  state->born_in = os::generation();
  state->info = {protocol.name(), options.serializer, {}, options.serializer_options, options.credentials};
  (void)wire::make_serializer(state->info);  // refused before anything is made
  transport::expect_no_url(options.route);
  // `bus gc` in another pid namespace may take a new directory for that of a dead process: then it is made
  // again.
  constexpr int kTries = 3;
  for (int left = kTries - 1;; --left) {
    try {
      bus::check_parent_directory(options);
      make_bus(protocol, *state);
      return Guard(std::move(state));
    } catch (const SystemError& error) {
      if (error.code() == ENOENT && left > 0 && options.route.empty()) continue;
      throw BusError(std::string("no bus can be made: ") + error.what());
    }
  }
}

std::vector<ProtocolDescription> known_protocols() {
  std::vector<ProtocolDescription> all;
  for (const transport::Protocol* protocol : transport::protocols()) {
    const std::string why = protocol->why_not_viable();
    all.push_back({protocol->name(), protocol->summary(), why.empty(), why});
  }
  return all;
}

}  // namespace ipcm
