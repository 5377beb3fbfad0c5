#include "ipcm/peer_info.h"

#include <csignal>
#include <utility>

#include "bus/member.h"
#include "bus/obituary_file.h"
#include "client/call.h"
#include "ipcm/error.h"
#include "os/process.h"
#include "os/process_statistics.h"
#include "os/time_limit.h"
#include "wire/printable.h"

namespace ipcm {
namespace {

using Facts = transport::PeerFacts;

/// The time for the process of a peer to end after the peer has left the bus.
constexpr auto kEndingTime = std::chrono::seconds(1);

/// nullopt: it is not on the bus.
std::optional<PeerInfo::State> state_of(const Facts& facts) {
  switch (facts.state) {
    case Facts::State::active:
      return PeerInfo::State::active;
    case Facts::State::suspended:
      return PeerInfo::State::suspended;
    case Facts::State::present:
      return PeerInfo::State::starting;
    default:
      return std::nullopt;
  }
}

PeerInfo::Process process_of(os::ProcessStatistics::State state) {
  switch (state) {
    case os::ProcessStatistics::State::stopped:
      return PeerInfo::Process::stopped;
    case os::ProcessStatistics::State::zombie:
      return PeerInfo::Process::zombie;
    default:
      return PeerInfo::Process::running;
  }
}

/// Adds what the kernel knows of the process. `proven`: its pidfd; empty: there is no proof.
void look_at_process(PeerInfo& info, Pid pid, const os::UniqueFd& proven) {
  info.is_proven = proven || pid == os::own_pid();
  const auto statistics = proven ? os::proven_statistics(proven.get()) : os::process_statistics(pid);
  if (statistics) {
    info.process = process_of(statistics->state);
    info.processor_time = statistics->processor_time;
  }
  using Clock = std::chrono::system_clock;
  if (const auto started = os::start_time(pid))
    info.started = Clock::time_point(
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(*started)));
  if (const auto memory = os::resident_memory(pid).value_or(0); memory > 0) info.resident_bytes = memory;
}

/// Keeps the end of a service that failed.
void keep_end(const BusInfo& info, const std::string& name, const Facts& facts, const ExitStatus& status) {
  if (facts.class_name.empty() || facts.pid <= 0 || facts.elsewhere) return;
  (void)bus::keep_obituary(
      info, {.name = name, .class_name = facts.class_name, .pid = facts.pid, .status = status});
}

}  // namespace

const char* to_string(PeerInfo::State state) {
  switch (state) {
    case PeerInfo::State::active:
      return "active";
    case PeerInfo::State::suspended:
      return "suspended";
    default:
      return "starting";
  }
}

const char* to_string(PeerInfo::Process process) {
  switch (process) {
    case PeerInfo::Process::running:
      return "running";
    case PeerInfo::Process::stopped:
      return "stopped";
    case PeerInfo::Process::zombie:
      return "zombie";
    default:
      return "unknown";
  }
}

std::optional<PeerInfo> peer_info(const Client& client, std::string_view name) {
  client.member().expect_usable();
  const auto found = client.member().transport().identify(std::string(name));
  const Facts& facts = found.facts;
  const auto state = state_of(facts);
  if (!state) return std::nullopt;
  PeerInfo info;
  info.name = name;
  info.state = *state;
  info.class_name = facts.class_name;
  info.is_inspectable = facts.is_inspectable;
  info.is_elsewhere = facts.elsewhere;
  if (const Pid pid = facts.elsewhere ? facts.noted : facts.pid; pid > 0) info.pid = pid;
  if (facts.pid > 0 && !facts.elsewhere) look_at_process(info, facts.pid, found.process);
  return info;
}

std::vector<PeerInfo> list_peers(const Client& client) {
  client.member().expect_usable();
  std::vector<PeerInfo> all;
  for (const std::string& name : client.member().transport().peers())
    if (auto info = peer_info(client, name)) all.push_back(std::move(*info));
  return all;
}

std::optional<PeerEnd> await_peer_gone(const Client& client, std::string_view name, Duration limit) {
  const client::Call call(client.shared_requests());
  call->expect_usable();
  const std::string peer(name);
  const auto found = call->transport().identify(peer);
  if (!call->await_gone(peer, os::Deadline::limit(limit))) return std::nullopt;
  PeerEnd end{false, {}, "has left"};
  const Pid pid = found.facts.elsewhere ? found.facts.noted : found.facts.pid;
  if (found.process && os::await_end(found.process.get(), os::limited(kEndingTime))) {
    end.has_ended = true;
    end.status = os::peek_exit_status(found.process.get());
    end.description = os::how_it_ended(found.process.get(), end.status);
  }
  if (end.status && !end.status->success()) keep_end(call->info(), peer, found.facts, *end.status);
  if (end.status) return end;
  // A name that nobody had: its obituary is that of the last service of that name.
  const auto obituary =
      found.facts.state == Facts::State::absent || pid > 0 ? obituary_of(call->info(), name) : std::nullopt;
  if (!obituary || (pid > 0 && obituary->pid != pid)) return end;
  end.has_ended = true;
  end.status = obituary->status;
  end.description = end.status ? end.status->describe() : "has died (its status is unknown)";
  return end;
}

void signal_peer(const Client& client, std::string_view name, int signal) {
  client.member().expect_usable();
  if (signal < 0 || signal > SIGRTMAX) throw UsageError("there is no signal " + std::to_string(signal));
  const std::string peer(name);
  const std::string shown = "'" + wire::printable_name(name) + "'";
  const auto found = client.member().transport().identify_surely(peer);
  if (found.facts.is_us) throw Error(shown + " got no signal: it belongs to the process that would send it");
  const bool is_there = state_of(found.facts).has_value();
  if (!is_there) throw PeerGone(peer, shown + " got no signal: it is not on the bus " + client.info().route);
  if (found.facts.state == Facts::State::suspended && !found.process)
    throw PeerGone(peer, shown + " got no signal: it is suspended, and has no process");
  if (!found.process)
    throw Error(shown +
                " got no signal: nothing proves from here which process it is; signal it where it runs");
  if (!os::signal_process(found.process.get(), signal))
    throw PeerGone(peer, shown + " got no signal: its process has ended");
}

}  // namespace ipcm
