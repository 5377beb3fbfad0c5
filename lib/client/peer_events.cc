#include "ipcm/peer_events.h"

#include <sys/epoll.h>

#include <algorithm>
#include <list>
#include <map>
#include <utility>

#include "bus/member.h"
#include "bus/obituary_file.h"
#include "client/call.h"
#include "ipcm/error.h"
#include "ipcm/service_log.h"
#include "os/process.h"

namespace ipcm {
namespace {

using Facts = transport::PeerFacts;
using Kind = PeerEvent::Kind;

/// The time for the process of a peer to end after the peer has left the bus.
constexpr auto kPartingTime = std::chrono::seconds(1);

bool is_on_bus(const Facts& facts) {
  return facts.state == Facts::State::present || facts.state == Facts::State::suspended ||
         facts.state == Facts::State::active;
}

bool has_failed(const std::optional<ExitStatus>& status) {
  return status && !(status->how == ExitStatus::How::exited && status->value == 0);
}

}  // namespace

const char* to_string(PeerEvent::Kind kind) {
  switch (kind) {
    case Kind::ready:
      return "ready";
    case Kind::left:
      return "left";
    case Kind::died:
      return "died";
    default:
      return "joined";
  }
}

struct PeerEvents::State {
  /// A peer on the bus.
  struct Known {
    PeerEvent event;  // name, class and pid, for the next event
    bool is_ready = false;
    os::UniqueFd process;  // empty: nothing proves its process
    std::optional<double> started;
    Watch watch;  // of its process: its end may show there first
  };
  /// A peer that is not on the bus any more, until its process has ended or its time is over.
  struct Ending {
    PeerEvent event;
    os::UniqueFd process;
    std::optional<double> started;
    bool is_over = false;
    Watch end, limit;
  };

  explicit State(Client& client) : requests(client.shared_requests()) {}

  [[nodiscard]] bus::Member& member() const { return requests->member(); }
  [[nodiscard]] bool has_news() const {
    return something || !events.empty() || (is_removed && endings.empty()) ||
           member().peer_changes() != seen ||
           std::any_of(endings.begin(), endings.end(), [](const Ending& one) { return one.is_over; });
  }

  void note_peers_of_now();
  void look();
  std::vector<std::string> list();
  void meet(const std::string& name, bool is_new);
  void part(std::map<std::string, Known>::iterator peer, bool is_dead);
  void finish(Ending& ending);
  void consult_obituary(PeerEvent& event) const;
  void keep_obituary(const PeerEvent& event, std::optional<double> started) const;
  void finish_endings();

  std::shared_ptr<client::PendingRequests> requests;
  std::uint64_t seen = 0;  // Member::peer_changes() at the last look
  bool something = false;  // a process has ended since the last look
  bool is_removed = false;
  std::map<std::string, Known> known;
  std::list<Ending> endings;
  std::vector<PeerEvent> events;
};

/// Notes the peers that are on the bus at the beginning, without events.
void PeerEvents::State::note_peers_of_now() {
  member().watch_peers();  // before the first look, so that no change is missed
  seen = member().peer_changes();
  for (const std::string& name : member().transport().peers()) meet(name, false);
}

/// Returns the peers. Those of a bus that was removed are gone.
std::vector<std::string> PeerEvents::State::list() {
  try {
    return member().transport().peers();
  } catch (const Error&) {
    if (!is_removed) throw;
    return {};
  }
}

void PeerEvents::State::look() {
  seen = member().peer_changes();
  something = false;
  is_removed = !member().ended().empty() || !member().transport().has_bus();
  // Before the listing, which removes what a dead peer has left.
  for (auto next = known.begin(); next != known.end();) {
    const auto peer = next++;
    const auto facts = is_removed ? Facts{} : member().transport().look(peer->first);
    const bool has_successor = is_on_bus(facts) && peer->second.event.pid.value_or(0) != 0 &&
                               facts.pid != 0 && !facts.elsewhere && facts.pid != *peer->second.event.pid;
    if (!is_on_bus(facts) || has_successor) part(peer, facts.state == Facts::State::dead);
  }
  for (const std::string& name : list()) meet(name, true);
}

/// Takes note of a peer on the bus, and of its readiness.
void PeerEvents::State::meet(const std::string& name, bool is_new) {
  auto peer = known.find(name);
  if (peer != known.end() && peer->second.is_ready) return;
  auto found = member().transport().identify(name);
  if (!is_on_bus(found.facts)) return;
  if (peer == known.end()) {
    // The events of a name come in their order: its predecessor has ended.
    for (Ending& ending : endings)
      if (ending.event.name == name && !ending.is_over) ending.is_over = true;
    finish_endings();
    peer = known.emplace(name, Known{}).first;
    peer->second.event.name = name;
    if (is_new) events.push_back({Kind::joined, name, found.facts.class_name, {}, false, {}, {}, {}});
  }
  Known& entry = peer->second;
  entry.event.class_name = found.facts.class_name;
  if (const Pid pid = found.facts.elsewhere ? found.facts.noted : found.facts.pid; pid > 0)
    entry.event.pid = pid;
  if (is_new && !events.empty() && events.back().kind == Kind::joined && events.back().name == name)
    events.back().pid = entry.event.pid;
  if (!entry.process && found.process) {
    entry.process = std::move(found.process);
    if (!found.facts.class_name.empty()) entry.started = os::start_time(found.facts.pid);  // for its obituary
    entry.watch = member().loop().watch(entry.process.get(), EPOLLIN, [this, name](std::uint32_t) {
      something = true;
      if (const auto ended = known.find(name); ended != known.end()) ended->second.watch.stop();
    });
  }
  if (found.facts.state != Facts::State::active) return;
  entry.is_ready = true;
  if (!is_new) return;
  PeerEvent ready = entry.event;
  ready.kind = Kind::ready;
  events.push_back(std::move(ready));
}

void PeerEvents::State::part(std::map<std::string, Known>::iterator peer, bool is_dead) {
  Known entry = std::move(peer->second);
  entry.watch.stop();
  known.erase(peer);
  Ending& ending = endings.emplace_back();
  ending.event = std::move(entry.event);
  ending.event.kind = is_dead ? Kind::died : Kind::left;
  ending.process = std::move(entry.process);
  ending.started = entry.started;
  if (!ending.process || os::has_ended(ending.process.get())) {
    ending.is_over = true;
    return;
  }
  Loop& loop = member().loop();
  ending.end = loop.watch(ending.process.get(), EPOLLIN, [&ending](std::uint32_t) {
    ending.is_over = true;
    ending.end.stop();
  });
  ending.limit = loop.at(os::Clock::now() + kPartingTime, [&ending] { ending.is_over = true; });
}

/// Completes the event of a peer with what is known of its end.
void PeerEvents::State::finish(Ending& ending) {
  PeerEvent& event = ending.event;
  event.has_ended = ending.process && os::has_ended(ending.process.get());
  if (event.has_ended) {
    event.status = os::peek_exit_status(ending.process.get());
    event.description = os::how_it_ended(ending.process.get(), event.status);
    if (has_failed(event.status)) event.kind = Kind::died;
  } else {
    event.description = event.kind == Kind::died ? "its process has ended" : "has left";
    event.has_ended = event.kind == Kind::died;
  }
  if (!event.status) consult_obituary(event);
  if (event.kind == Kind::died) event.last_words = service_last_words(member().info(), event.name);
  if (event.kind == Kind::died && event.status && !is_removed) keep_obituary(event, ending.started);
  events.push_back(std::move(event));
}

/// Completes an event with what another process has noted of that end.
void PeerEvents::State::consult_obituary(PeerEvent& event) const {
  if (!event.pid) return;
  event.status = bus::status_in_obituary(member().info(), event.name, *event.pid);
  if (!event.status) return;
  event.kind = Kind::died;
  event.has_ended = true;
  event.description = event.status->describe();
}

void PeerEvents::State::keep_obituary(const PeerEvent& event, std::optional<double> started) const {
  if (event.class_name.empty()) return;  // no service
  std::optional<Obituary::TimePoint> start;
  if (started) start = bus::time_of(*started);
  (void)bus::keep_obituary(member().info(), {.name = event.name,
                                             .class_name = event.class_name,
                                             .pid = event.pid,
                                             .started = start,
                                             .status = event.status});
}

void PeerEvents::State::finish_endings() {
  for (auto next = endings.begin(); next != endings.end();) {
    const auto ending = next++;
    if (!ending->is_over) continue;
    finish(*ending);
    endings.erase(ending);
  }
}

PeerEvents::PeerEvents(Client& client) : state_(std::make_unique<State>(client)) {
  const client::Call call(state_->requests);
  call->expect_usable();
  state_->note_peers_of_now();
}

PeerEvents::~PeerEvents() = default;

std::vector<PeerEvent> PeerEvents::take() {
  const client::Call call(state_->requests);
  call->expect_usable();
  call->loop().drain();
  if (state_->has_news()) state_->look();
  state_->finish_endings();
  if (state_->events.empty() && state_->is_removed && state_->endings.empty())
    throw BusError("the bus at '" + call->info().route + "' was removed");
  if (state_->is_removed && state_->endings.empty()) call->loop().nudge();  // the next call tells the removal
  return std::exchange(state_->events, {});
}

std::vector<PeerEvent> PeerEvents::wait(Duration limit) {
  const client::Call call(state_->requests);
  const auto deadline = os::Deadline::limit(limit);
  for (;;) {
    auto events = take();
    if (!events.empty()) return events;
    if (!call->loop().run_until([&] { return state_->has_news(); }, deadline)) return take();
  }
}

}  // namespace ipcm
