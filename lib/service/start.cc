#include "service/start.h"

#include <algorithm>
#include <iterator>

#include "bus/member.h"
#include "bus/obituary_file.h"
#include "bus/service_log.h"
#include "handoff/handoff.h"
#include "launch/boot_binary.h"
#include "launch/warm_boots.h"
#include "os/directory.h"
#include "os/process.h"
#include "service/credentials.h"
#include "service/serve.h"
#include "service/setup.h"
#include "transport/presence/disk_name.h"
#include "transport/protocols.h"

namespace ipcm::service {

std::string class_name_on_bus(const std::string& class_name) { return class_name.empty() ? "-" : class_name; }

namespace {

constexpr Duration kLongestSpin = std::chrono::seconds(1);

bool has_callbacks(const ServiceOptions& options) {
  return options.on_start || options.on_all || options.on_interval || options.on_general_message ||
         options.on_peer_delta || options.on_pid || !options.on_sig.empty() || options.on_unhandled ||
         options.should_end || options.on_cleanup || options.handle_request;
}

/// Checks what holds for each service, no matter which process runs it.
void check_service(const std::string& name, const ServiceOptions& options, const BusInfo& info) {
  const std::string who = "service '" + name + "': ";
  transport::find_protocol(info.protocol).check_route(info.route);
  transport::check_peer_name(name);
  if (options.interval && *options.interval <= Duration::zero())
    throw UsageError(who + "the interval must be more than zero");
  if (options.spin < Duration::zero() || options.spin > kLongestSpin)
    throw UsageError(who + "spin must be between 0 and a second");
}

void check_start(const std::string& name, const ServiceOptions& options, const BusInfo& info) {
  const std::string who = "service '" + name + "': ";
  if (transport::find_protocol(info.protocol).within_one_process())
    throw UsageError(who + "it would be a process of its own, and a bus of protocol " + info.protocol +
                     " lives inside one process; use another protocol");
  check_service(name, options, info);
  if (options.exec && options.class_name.empty())
    throw UsageError(
        who + (has_callbacks(options)
                   ? "callbacks can't be carried over exec; register a class and name it, or fork (no exec)"
                   : "exec needs the name of a registered class"));
  if (options.class_name.empty() && !has_callbacks(options))
    throw UsageError(who + "nothing to run: give class_name, or callbacks");
  if (!options.class_name.empty() && has_callbacks(options))
    throw UsageError(who + "a class and callbacks contradict each other: the class has to bring its own");
  if (options.class_name.empty() && !options.args.is_null())
    throw UsageError(who + "args go to a class; callbacks take what they need along");
  if (options.timeout < Duration::zero()) throw UsageError(who + "the timeout is negative");
  if (!options.exec && !options.allow_threads && os::has_threads())
    throw UsageError(
        who +
        "this process has several threads, and a fork would copy their locks as they stand; start it with "
        "exec, or set allow_threads if you know that it is safe");
}

const Registry& registry_of(const ServiceOptions& options) {
  static const Registry builtin = builtin_services();
  return options.registry != nullptr ? *options.registry : builtin;
}

const Registry::Entry& find_class(const std::string& name, const ServiceOptions& options) {
  const Registry& registry = registry_of(options);
  const Registry::Entry* entry = registry.find(options.class_name);
  if (entry == nullptr)
    throw UsageError("service '" + name + "': unknown class '" + options.class_name +
                     "'; the registry has: " + registry.names());
  return *entry;
}

}  // namespace

namespace {

/// Plans the standard streams of the child, and its copies of the original ones.
void plan_streams(launch::LaunchPlan& plan, const Redirect& wanted, const Setup* starter) {
  const auto original_of = [&](std::size_t stream) {
    const int kept = starter != nullptr ? starter->original.at(stream).get() : -1;
    return kept >= 0 ? kept : static_cast<int>(stream);
  };
  const bool back = starter != nullptr && !starter->parameters.redirect.inherited;
  plan.redirect = wanted;
  bool redirected = false;
  std::string* const streams[] = {&plan.redirect.in, &plan.redirect.out, &plan.redirect.err};
  for (std::size_t i = 0; i < std::size(streams); ++i) {
    if (*streams[i] == "&orig" || (back && streams[i]->empty()))
      *streams[i] = "&" + std::to_string(original_of(i));
    redirected |= !streams[i]->empty();
  }
  const bool kept =
      starter != nullptr && (starter->original[0] || starter->original[1] || starter->original[2]);
  if (wanted.keep_original && (redirected || kept))
    for (std::size_t i = 0; i < plan.original.size(); ++i) plan.original.at(i) = original_of(i);
}

/// Returns the processes whose end ends the service: the caller's alone, unless the options say otherwise.
std::vector<Pid> watched_pids(const ServiceOptions& options) {
  if (!options.watch_pids.empty() || options.detached) return options.watch_pids;
  return {os::own_pid()};
}

/// The parameters of a service. The launcher redirects its streams itself.
handoff::Parameters parameters_of(const std::string& name, const ServiceOptions& options,
                                  const BusInfo& info) {
  handoff::Parameters parameters;
  parameters.name = name;
  parameters.class_name = options.class_name;
  parameters.info = info;
  parameters.watch_pids = watched_pids(options);
  parameters.interval = options.interval;
  parameters.spin = options.spin;
  parameters.intercept_errors = options.intercept_errors;
  parameters.expose_error_details = options.expose_error_details;
  parameters.secret = options.secret;
  parameters.redirect.inherited = options.redirect.inherited;
  parameters.stay_in_begin = options.exec && options.exec->stay_in_begin;
  parameters.args = options.args;
  return parameters;
}

/// The life of a forked service. `entry`: its class; null: it is made of the callbacks in `options`.
int serve_forked(handoff::Parameters parameters, const ServiceOptions& options, const Registry::Entry* entry,
                 launch::ChildSide side) {
  auto setup = std::make_unique<Setup>();
  setup->parameters = std::move(parameters);
  take_credentials(setup->parameters.info);
  setup->leash = std::move(side.leash);
  setup->original = std::move(side.original);
  setup->registry = &registry_of(options);
  setup->callbacks = options;
  return serve(ServiceSetup(std::move(setup)), std::move(side.announcer),
               [&](ServiceSetup given) -> std::unique_ptr<Service> {
                 return entry == nullptr ? std::make_unique<Service>(std::move(given))
                                         : entry->make(std::move(given), options.args);
               });
}

/// The part of a start that does not depend on the class and the parameters of the service.
launch::LaunchPlan plan_process(const std::string& name, const ServiceOptions& options, const BusInfo& info,
                                const Setup* starter) {
  const std::vector<Pid> watched = watched_pids(options);
  launch::LaunchPlan plan;
  plan.name = name;
  plan.leash = !options.detached && std::find(watched.begin(), watched.end(), os::own_pid()) != watched.end();
  // A captured stderr needs a reader: the loop of a service, or a caller that waits.
  plan.capture_stderr = options.capture_stderr.value_or(options.wait || options.log || starter != nullptr);
  plan.new_session = options.new_session;
  plan.outlives_launcher = !options.wait;
  plan_streams(plan, options.redirect, starter);
  plan.post_fork = options.post_fork;
  if (!options.exec) return plan;
  plan.program = launch::find_boot_binary(name, options.exec->path);
  plan.args = options.exec->args;
  plan.env = options.exec->env;
  // Never among the parameters, which may be seen in the process list. A service whose bus needs none gets
  // none of what stands in our own environment.
  const bool needed = needs_credentials(info);
  const auto set = [&](const char* variable, const std::string& value) {
    if (needed && !value.empty()) plan.env.emplace(variable, value);
    if (!needed && os::environment(variable)) plan.env.emplace(variable, "");
  };
  set("IPCM_DB_USER", info.credentials.user);
  set("IPCM_DB_PASSWORD", info.credentials.password);
  plan.directory = options.exec->directory;
  plan.warm = options.exec->warm;
  return plan;
}

/// Keeps the end of a service that this process has started.
void keep_death(const BusInfo& info, const std::string& name, const std::string& class_name,
                const launch::LaunchPlan::Death& death) {
  (void)bus::keep_obituary(
      info, {.name = name,
             .class_name = class_name_on_bus(class_name),
             .pid = death.pid,
             .started = bus::time_of(death.started),
             .status = death.status,
             .why_unknown = death.status ? "" : "other code in the process of its launcher has reaped it"});
}

}  // namespace

launch::LaunchPlan plan_start(const std::string& name, const ServiceOptions& options, const BusInfo& info,
                              const Setup* starter) {
  check_start(name, options, info);
  launch::LaunchPlan plan = plan_process(name, options, info, starter);
  if (options.log) {
    try {
      plan.log = bus::make_log_path(info, name);
    } catch (const SystemError& error) {
      LaunchError::Facts facts;
      facts.name = name;
      facts.error = error.code();
      throw LaunchError("service '" + name + "' did not start: its log: " + error.what(), facts);
    }
  }
  plan.on_death = [info, name, class_name = options.class_name](const launch::LaunchPlan::Death& death) {
    keep_death(info, name, class_name, death);
  };
  handoff::Parameters parameters = parameters_of(name, options, info);
  if (options.exec) {
    plan.secret = options.secret;
    plan.parameters = handoff::write_parameters(parameters);
  } else {
    const Registry::Entry* entry = options.class_name.empty() ? nullptr : &find_class(name, options);
    // The child uses its copy, whatever the caller does with its options.
    plan.body = [parameters = std::move(parameters), options, entry](launch::ChildSide side) {
      return serve_forked(parameters, options, entry, std::move(side));
    };
  }
  return plan;
}

std::unique_ptr<Setup> plan_here(const std::string& name, const ServiceOptions& options,
                                 const BusInfo& info) {
  check_service(name, options, info);
  auto setup = std::make_unique<Setup>();
  setup->parameters = parameters_of(name, options, info);
  setup->parameters.watch_pids = options.watch_pids;  // there is no launcher whose end would matter
  setup->registry = &registry_of(options);
  setup->callbacks = options;
  return setup;
}

launch::LaunchPlan::Presence presence_of(bus::Member& member, const std::string& name) {
  using PeerState = transport::PeerFacts::State;
  const auto facts = member.transport().look(name);
  return {facts.state != PeerState::absent,
          facts.state != PeerState::absent && facts.state != PeerState::dead, facts.pid};
}

}  // namespace ipcm::service

namespace ipcm {

void ipcm_warm_up(const ServiceOptions& options) {
  if (!options.exec || !options.exec->warm)
    throw UsageError("there is no pool to fill: give options.exec a WarmPool (exec.warm)");
  BusInfo info;
  info.protocol = options.bus.protocols.empty() ? "ConnectionUnix" : options.bus.protocols.front();
  info.credentials = options.bus.credentials;
  if (options.ipcm_info) info = *options.ipcm_info;
  const std::string name = options.class_name.empty() ? "(waiting)" : options.class_name;
  options.exec->warm.boots()->fill(service::plan_process(name, options, info, nullptr));
}

}  // namespace ipcm
