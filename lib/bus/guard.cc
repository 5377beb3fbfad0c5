#include "bus/guard.h"

#include "bus/cleave.h"
#include "bus/sanity_check.h"
#include "bus/service_log.h"
#include "bus/take_down.h"
#include "ipcm/error.h"
#include "os/descriptor.h"
#include "os/directory.h"
#include "transport/directory/route_info.h"
#include "transport/protocols.h"

namespace ipcm {
namespace {

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

std::vector<bus::Stayed> Guard::State::take_down(const std::vector<os::Child*>& children) {
  down = true;
  auto left = bus::take_down(info, options, children);
  if (options.do_sanity_check) discrepancies = bus::sanity_check(info);
  (void)transport::find_protocol(info.protocol).remove_route(info);
  bus::remove_logs_elsewhere(info);
  owner.reset();
  return left;
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
  try {
    (void)state_->take_down({});
  } catch (const std::exception&) {
    // Silent, as promised; shutdown() reports.
    (void)transport::find_protocol(state_->info.protocol).remove_route(state_->info);
  }
}

const BusInfo& Guard::info() const {
  if (!state_) throw UsageError("this guard was moved away");
  return state_->info;
}

void Guard::State::report(const std::vector<bus::Stayed>& left) const {
  if (!left.empty())
    throw Timeout("the bus at " + info.route +
                  " was taken down, but these peers did not leave: " + bus::describe(left));
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

void Guard::unspawn() { shutdown(); }

void Guard::release() {
  (void)info();
  if (!state_->acts_here()) return;
  if (state_->owner) state_->owner->release();
  state_->down = true;
}

Guard ipcm_spawn(const SpawnOptions& options) {
  const transport::Protocol& protocol = first_viable(options.protocols);
  auto state = std::make_unique<Guard::State>();
  state->options = options;
  state->born_in = os::generation();
  try {
    state->info = {protocol.name(), options.serializer, {}, options.serializer_options, options.credentials};
    (void)wire::make_serializer(state->info);  // refused before anything is made
    state->info.route = protocol.make_route(options);
  } catch (const SystemError& error) {
    throw BusError(std::string("no bus can be made: ") + error.what());
  }
  try {
    if (options.guard) state->owner = protocol.own(state->info);
    transport::note_route_info(state->info);
  } catch (...) {
    (void)protocol.remove_route(state->info);
    throw;
  }
  return Guard(std::move(state));
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
