#include "ipcm/handle.h"

#include <csignal>

#include "bus/guard.h"
#include "bus/member.h"
#include "client/call.h"
#include "ipcm/launch.h"
#include "launch/launch.h"
#include "os/descriptor.h"
#include "os/identity.h"
#include "os/time_limit.h"
#include "service/start.h"
#include "wire/parsed_content.h"

namespace ipcm {
namespace {

constexpr auto kFlushTime = std::chrono::seconds(5);
/// The time for a service to end that another process has started.
constexpr auto kForeignEndTime = std::chrono::seconds(15);
/// The time in which a relay reads the rest of the stderr of a child that has ended.
constexpr auto kDyingTime = std::chrono::seconds(1);

/// Joins under the name that the reference gives to a launcher, with random letters: this process may have
/// several handles on one bus, and so may a process with the same pid in another pid namespace.
std::shared_ptr<bus::Member> join_as_parent(const BusInfo& info, const std::shared_ptr<Loop>& loop) {
  transport::JoinRequest request;
  request.info = info;
  request.name = os::unique_name("service_parent_");
  return std::make_shared<bus::Member>(request, loop, bus::Member::Sending::waits);
}

}  // namespace

struct Handle::State : std::enable_shared_from_this<Handle::State> {
  std::string name;
  std::unique_ptr<Guard::State> guard;  // if the bus is ours
  BusInfo info;
  std::uint32_t born_in = os::generation();
  std::shared_ptr<Loop> loop = std::make_shared<Loop>();
  std::unique_ptr<launch::Launch> launch;
  std::optional<Client> client;
  std::shared_ptr<client::PendingRequests> requests;
  bool over = false;
  bool outlives = false;  // it comes up also if we go before

  [[nodiscard]] bool acts_here() const { return !over && born_in == os::generation(); }

  void join() {
    requests = std::make_shared<client::PendingRequests>(join_as_parent(info, loop),
                                                         client::PendingRequests::IncomingRequests::whole);
    client.emplace(requests);
  }

  void begin(const ServiceOptions& options, os::Clock::time_point began) {
    auto plan = service::plan_start(name, options, info, nullptr);
    plan.began = began;
    outlives = plan.outlives_launcher;
    plan.on_bus = [this]() -> std::optional<launch::LaunchPlan::Presence> {
      if (!client) return std::nullopt;
      return service::presence_of(client->member(), name);
    };
    if (options.pre_fork) options.pre_fork();
    // The child first: it boots while we join the bus ourselves.
    launch = std::make_unique<launch::Launch>(*loop, std::move(plan));
    const auto failed = [this](const Error& error, int code) {
      launch.reset();  // its process ends before anybody hears of it
      LaunchError::Facts facts;
      facts.name = name;
      facts.error = code;
      return LaunchError(
          "service '" + name + "' did not start: the launcher could not join the bus: " + error.what(),
          facts);
    };
    try {
      join();
    } catch (const SystemError& error) {
      throw failed(error, error.code());
    } catch (const BusError& error) {
      throw failed(error, 0);
    }
    launch->look_again();
    loop->spin(options.spin);
    requests->starts().follow(name, *launch, client::HeldStarts::Hold::yes);
  }

  bool ready(std::optional<os::Deadline> wait) {
    using Verdict = launch::Launch::Verdict;
    if (over || !requests) throw UsageError("this handle has been shut down");
    const client::Call call(requests);
    if (!launch) {
      const bool is_active = wait ? call->await_active(name, *wait) : client->peer_active(name);
      if (over) throw UsageError("this handle has been shut down");
      return is_active;
    }
    if (wait) loop->run_until([&] { return over || launch->verdict() != Verdict::pending; }, *wait);
    if (over || !launch) throw UsageError("this handle has been shut down");
    requests->release_decided();
    if (launch->verdict() == Verdict::failed) throw launch->error();
    return launch->verdict() == Verdict::ready;
  }

  /// After an exception the call can be repeated.
  std::vector<StayedPeer> end() {
    over = true;  // for callbacks that run meanwhile
    try {
      return end_all();
    } catch (...) {
      over = false;
      throw;
    }
  }

  std::vector<StayedPeer> end_all() {
    if (requests) {
      requests->close();
      requests->starts().forget(name);  // the launch may end before a call that still uses the requests
    }
    // A start without a verdict ends with its handle.
    if (launch && launch->verdict() == launch::Launch::Verdict::pending && !outlives) launch.reset();
    requests.reset();
    if (client) client->member().leave(os::limited(kFlushTime));
    client.reset();
    std::vector<StayedPeer> left;
    if (guard) {
      std::vector<os::Child*> children;
      if (launch) children.push_back(&launch->child());
      left = guard->take_down(children);
      if (launch) (void)launch->relay().reap(os::Deadline::after(kDyingTime));
    } else if (launch) {
      launch->release();
    }
    return left;
  }
};

Handle::Handle(std::shared_ptr<State> state) : state_(std::move(state)) {}
Handle::Handle(Handle&&) noexcept = default;

Handle& Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    const Handle old(std::move(*this));
    state_ = std::move(other.state_);
  }
  return *this;
}

Handle::~Handle() {
  const auto self = std::move(state_);
  if (!self || !self->acts_here()) return;
  try {
    (void)self->end();
  } catch (const std::exception&) {
    // A destructor reports nothing; shutdown() does. Owner objects end the rest.
    if (self->guard) self->guard->end_silently({});
  }
}

Handle::State& Handle::state() const {
  if (!state_) throw UsageError("this handle was moved away");
  return *state_;
}

const std::string& Handle::service_name() const { return state().name; }
const BusInfo& Handle::info() const { return state().info; }

Client& Handle::client() {
  if (!state().client) throw UsageError("this handle has been shut down");
  return *state_->client;
}

client::PendingRequests& Handle::requests() const {
  if (!state().requests) throw UsageError("this handle has been shut down");
  return *state_->requests;
}

std::optional<Pid> Handle::child_pid() const {
  const auto& launch = state().launch;
  return launch ? std::optional<Pid>(launch->first_pid()) : std::nullopt;
}
std::optional<Pid> Handle::service_pid() const {
  const auto& launch = state().launch;
  if (!launch && state().client) return state().client->peer_pid(state().name);
  return launch && launch->service_pid() > 0 ? std::optional<Pid>(launch->service_pid()) : std::nullopt;
}
Duration Handle::time_to_ready() const {
  const auto& launch = state().launch;
  return launch ? launch->time_to_ready() : Duration{};
}

bool Handle::ready() { return state().shared_from_this()->ready(std::nullopt); }
bool Handle::ready(Duration limit) { return state().shared_from_this()->ready(os::Deadline::limit(limit)); }

std::optional<ExitStatus> Handle::shutdown() {
  const auto self = state().shared_from_this();
  if (self->over) return std::nullopt;
  if (!self->acts_here())
    throw UsageError("a handle is shut down by the process that made it, not by one forked from it");
  const bool owned = self->guard != nullptr;
  const auto left = self->end();
  if (self->guard) self->guard->report(left);
  return owned && self->launch ? self->launch->child().status() : std::nullopt;
}

void Handle::release() {
  const auto self = state().shared_from_this();
  if (!self->acts_here()) return;
  if (self->guard) {
    if (self->guard->owner) self->guard->owner->release();
    self->guard.reset();
  }
  (void)self->end();
}

std::optional<ExitStatus> Handle::end_service() {
  const auto self = state().shared_from_this();
  if (!self->acts_here() || !self->client) return std::nullopt;
  if (!self->launch) {  // another process has started it: only that one may send signals
    const client::Call call(self->requests);
    if (self->client->try_message(self->name, wire::terminate_content()) && !self->over)
      (void)call->await_gone(self->name, os::Deadline::after(kForeignEndTime));
    return std::nullopt;
  }
  os::Child& child = self->launch->child();
  const auto wait = [&](Duration span) {
    return self->loop->run_until([&] { return child.try_reap() || child.reaped(); },
                                 os::Deadline::after(span));
  };
  (void)self->client->try_message(self->name, wire::terminate_content());
  if (wait(SpawnOptions{}.polite_time)) return child.status();
  child.signal(SIGTERM);
  if (wait(kFlushTime)) return child.status();
  return child.kill_and_reap();
}

int Handle::fd() const { return state().loop->fd(); }

void Handle::dispatch() {
  const auto self = state().shared_from_this();  // a callback may destroy this handle
  const client::Call call(client().shared_requests());
  call->expect_usable();
  self->loop->drain();
  call.requests().process();
}

// ---- starting from outside

namespace {

void check_bus_options(const std::string& name, const ServiceOptions& options) {
  if (options.new_bus && options.ipcm_info)
    throw UsageError("service '" + name + "': new_bus and ipcm_info contradict each other; give one of them");
}

}  // namespace

Handle ipcm_service_begin(const std::string& name, const ServiceOptions& options) {
  check_bus_options(name, options);
  const auto began = os::Clock::now();
  const auto deadline = os::Deadline::limit(options.timeout);
  const os::TimeLimit limit(deadline);  // of joining, too
  auto state = std::make_shared<Handle::State>();
  state->name = name;
  if (options.ipcm_info) {
    state->info = *options.ipcm_info;
  } else {
    Guard guard = ipcm_spawn(options.bus);
    state->info = guard.info();
    state->guard = Guard::take_state(std::move(guard));
  }
  Handle handle(std::move(state));  // from here on, whatever is thrown takes the bus down again
  Handle::State& self = *handle.state_;
  self.begin(options, began);
  if (options.timeout != kNoLimit) self.launch->limit(deadline);
  return handle;
}

Handle ipcm_handle(const std::string& service, const BusInfo& info) {
  auto state = std::make_shared<Handle::State>();
  state->name = service;
  state->info = info;
  state->join();
  return Handle(std::move(state));
}

Handle ipcm_service(const std::string& name, const ServiceOptions& options) {
  if (!options.wait) return ipcm_service_nowait(name, options);
  Handle handle = ipcm_service_begin(name, options);
  (void)handle.ready(kNoLimit);  // the start has its own limit
  return handle;
}

Handle ipcm_service_nowait(const std::string& name, ServiceOptions options) {
  if (!options.ipcm_info)
    throw UsageError(
        "service '" + name +
        "': from outside, a start without waiting needs a bus that exists (ipcm_info): with one of its own, "
        "nobody would be left to take it down");
  options.wait = false;
  return ipcm_service_begin(name, options);
}

Handle ipcm_service(const std::string& name, std::function<void(Service&, const Activity&)> callback) {
  return ipcm_service(name, ServiceOptions{}, std::move(callback));
}

Handle ipcm_service(const std::string& name, ServiceOptions options,
                    std::function<void(Service&, const Activity&)> callback) {
  options.on_all = std::move(callback);
  return ipcm_service(name, options);
}

}  // namespace ipcm
