#include "client/peer_watch.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "bus/obituary_file.h"
#include "os/process.h"
#include "os/time_limit.h"

namespace ipcm::client {
namespace {

using State = transport::PeerFacts::State;

constexpr auto kDyingTime = std::chrono::seconds(1);
/// The kernel closes the sockets of a process before it reports its end.
constexpr auto kEndingTime = std::chrono::milliseconds(250);
/// How long the last messages of a peer are looked for while other peers keep sending; longer on a bus that
/// keeps messages, where many may be ahead of them.
constexpr auto kLastMessagesTime = std::chrono::milliseconds(200),
               kLongLastMessagesTime = std::chrono::milliseconds(2000);

}  // namespace

PeerWatch::PeerWatch(bus::Member& member, OpenRequests& open, const HeldStarts& starts)
    : member_(member),
      open_(open),
      starts_(starts),
      looking_(
          member_.loop(),
          [this](const std::string& why) { member_.note_dropped("requests have to wait: " + why); }, [] {}) {
  member_.on_link_lost([this](const std::string& peer, std::uint64_t link) { note_lost(peer, link); });
}

PeerWatch::~PeerWatch() { member_.on_link_lost({}); }

void PeerWatch::note_lost(const std::string& peer, std::uint64_t link) {
  lost_.insert(peer);
  if (!open_.asks(peer)) return;
  lost_at_[peer] = member_.losses();
  if (link == 0 || !open_.asks_any([&](const auto& entry) { return entry.link == link; })) return;
  Closed& closed = closed_links_[link];
  closed.peer = peer;
  closed.grace = member_.loop().at(os::from_now(kEndingTime), [this, peer, link] {
    if (const auto found = closed_links_.find(link); found != closed_links_.end())
      found->second.is_over = true;
    lost_.insert(peer);
  });
}

transport::Transport::Identified PeerWatch::identify(const std::string& peer) {
  transport::Transport::Identified found;
  // A bus that can't be read just now proves nothing: requests go on waiting, within their limit.
  found.facts.state = State::present;
  try {
    found = member_.transport().identify(peer);
  } catch (const BusError&) {
    return found;
  } catch (const Timeout&) {
    return found;
  }
  // A look at a store is no single moment: the peer may suspend, or be succeeded, after its row was read and
  // before its lock is tested. Then it looks dead. The next look begins after that.
  if (found.facts.state == State::dead && member_.protocol().keeps_messages())
    found = member_.transport().identify(peer);
  return found;
}

Pid PeerWatch::watched_pid(const std::string& peer) const {
  const auto watched = watched_.find(peer);
  return watched == watched_.end() ? 0 : watched->second.pid;
}

void PeerWatch::watch_absence(Watched& entry, const std::string& peer, double until) {
  constexpr double kFarAway = 1e8;
  const double span = until - os::wall_clock_seconds();
  const double left = span > 0 ? std::min(span, kFarAway) : 0;  // also if it is no number
  // One millisecond later, so that the time has passed by every clock.
  const auto when = os::from_now(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(left)) +
                                 std::chrono::milliseconds(1));
  entry.watch = member_.loop().at(when, [this, peer] { lost_.insert(peer); });
}

void PeerWatch::watch_process(Watched& entry, const std::string& peer) {
  entry.watch = member_.loop().watch(entry.process.get(), EPOLLIN, [this, peer](std::uint32_t) {
    lost_.insert(peer);
    watched_.at(peer).watch.want(0);  // once is enough; process() does the rest
  });
}

State PeerWatch::watch(const std::string& peer) {
  // The end of a link shows that a peer has left without dying. A bus without links lists its peers instead.
  if (!member_.transport().keeps_links()) member_.watch_peers();
  // A peer that was away at the last look may be back, or away until another time.
  if (const auto known = watched_.find(peer); known != watched_.end()) {
    if (known->second.pid != 0) return State::active;
    watched_.erase(known);
  }
  auto [facts, process] = identify(peer);
  Watched one;
  if (facts.state == State::suspended) {
    if (facts.expires) watch_absence(one, peer, *facts.expires);
  } else {
    // Without a process to watch, the link or the place on the bus shows the end.
    if (facts.pid <= 0 || facts.is_us || facts.pid == os::own_pid()) return facts.state;
    one.is_proven = static_cast<bool>(process);
    if (!process)
      if (auto claimed = os::open_process(facts.pid)) process = std::move(*claimed);
    if (!process) return facts.state;
    one.pid = facts.pid;
    one.class_name = facts.class_name;
    one.process = std::move(process);
    watch_process(one, peer);
  }
  watched_.emplace(peer, std::move(one));
  return facts.state;
}

void PeerWatch::part_from_predecessor(const std::string& peer) {
  // Where a link to the peer is open, and nothing waits on it, sending finds out.
  bool ended = lost_.erase(peer) > 0;
  if (const auto watched = watched_.find(peer);
      !ended && watched != watched_.end() && !member_.transport().has_clear_link(peer))
    ended = watched->second.process && os::has_ended(watched->second.process.get());
  if (ended) look_after(peer);
}

bool PeerWatch::must_look() const {
  return !member_.transport().keeps_links() && seen_changes_ != member_.peer_changes() &&
         (!watched_.empty() || open_.have_pending());
}

void PeerWatch::process() {
  if (must_look() || !lost_.empty()) (void)looking_.attempt([this] { look_after_lost(); });
}

void PeerWatch::look_after_all() {
  seen_changes_ = member_.peer_changes();
  // A peer without open requests is looked at again when it is asked next.
  std::erase_if(watched_, [this](const auto& entry) { return !open_.asks(entry.first); });
  lost_.merge(open_.asked_peers());
}

void PeerWatch::look_after_lost() {
  if (must_look()) look_after_all();
  while (!lost_.empty()) {
    const std::string peer = *lost_.begin();
    lost_.erase(lost_.begin());
    try {
      look_after(peer);
    } catch (...) {
      lost_.insert(peer);  // for another time
      throw;
    }
    std::erase_if(closed_links_,
                  [&](const auto& entry) { return entry.second.is_over && entry.second.peer == peer; });
  }
}

void PeerWatch::look_after(const std::string& peer) {
  const auto watched = watched_.find(peer);
  const Pid asked = watched_pid(peer);
  const bool is_proven = asked != 0 && watched->second.is_proven;
  const bool ended = asked != 0 && os::has_ended(watched->second.process.get());
  const auto facts = identify(peer).facts;
  const bool there = facts.state == State::active || facts.state == State::present;
  if (ended && !is_proven && there && (facts.elsewhere ? facts.noted : facts.pid) == asked) {
    watched_.erase(watched);  // another process had that number here
    fail_on_closed(peer);
    return;
  }
  if (!ended && there && (asked == 0 || facts.pid == asked)) {
    if (asked == 0 && watched != watched_.end()) {  // it is back
      watched_.erase(watched);
      (void)watch(peer);
    }
    fail_on_closed(peer);  // or it only closed a connection
    return;
  }
  // On a bus that keeps messages they wait: for a peer that has suspended, and for a successor.
  const bool has_successor = there && facts.pid != asked;
  if (member_.protocol().keeps_messages() && (facts.state == State::suspended || has_successor)) {
    if (asked == 0 && watched != watched_.end() && facts.state == State::suspended) return;
    watched_.erase(peer);
    if (open_.asks(peer)) (void)watch(peer);
    return;
  }
  if (open_.asks(peer)) read_last_messages(peer);
  if (open_.asks(peer)) fail_as_gone(peer, asked, ended, facts);
  if (!open_.asks(peer)) {
    watched_.erase(peer);
    lost_at_.erase(peer);
  }
}

void PeerWatch::read_last_messages(const std::string& peer) {
  // They may be in a socket that was not read, or in a connection that was not accepted yet.
  const auto until =
      os::Deadline::after(member_.protocol().keeps_messages() ? kLongLastMessagesTime : kLastMessagesTime);
  std::uint64_t before = 0;
  do {
    before = member_.inbox().incoming_count();
    member_.inbox().drain_beyond_limit();
  } while (member_.inbox().incoming_count() != before && open_.asks(peer) && !until.has_passed());
}

std::optional<ExitStatus> PeerWatch::consult_obituary(const std::string& peer, Pid asked,
                                                      const std::optional<ExitStatus>& status, bool is_dead) {
  if (!status) return bus::status_in_obituary(member_.info(), peer, asked);
  const auto watched = watched_.find(peer);
  if (watched == watched_.end() || watched->second.class_name.empty()) return status;
  if (!is_dead && status->success()) return status;  // an orderly end
  (void)bus::keep_obituary(
      member_.info(),
      {.name = peer, .class_name = watched->second.class_name, .pid = asked, .status = status});
  return status;
}

void PeerWatch::fail_as_gone(const std::string& peer, Pid asked, bool ended,
                             const transport::PeerFacts& facts) {
  const auto watched = watched_.find(peer);
  const int process = asked != 0 && watched != watched_.end() ? watched->second.process.get() : -1;
  // The lock and the sockets of a process go a moment before the process. Its exit status belongs to the
  // reason.
  if (!ended && process >= 0 && watched->second.is_proven && facts.state == State::dead)
    ended = os::await_end(process, os::limited(kDyingTime));
  std::optional<ExitStatus> status;
  if (ended || facts.state == State::dead) status = starts_.status_of(peer, asked);
  if (!status && ended) status = os::peek_exit_status(process);
  if (asked != 0) status = consult_obituary(peer, asked, status, facts.state == State::dead);
  if (status) ended = true;
  const std::string how = status                       ? "its process " + status->describe()
                          : ended                      ? "its process " + os::how_it_ended(process, {})
                          : facts.state == State::dead ? "its process has ended"
                                                       : "it left the bus";
  const std::string next = bus::next_in_obituary(member_.info(), peer, asked);
  const auto gone = std::make_exception_ptr(PeerGone(
      peer, "'" + peer + "' went away before it answered: " + how + (next.empty() ? "" : "; " + next),
      status));
  // A request that found the link lost, and another link to a successor, waits for the successor's answer.
  const bool there = facts.state == State::active || facts.state == State::present;
  const bool has_successor = there && facts.pid != asked;
  const auto lost = lost_at_.find(peer);
  const bool is_bounded = has_successor && member_.transport().keeps_links() && lost != lost_at_.end();
  open_.fail(peer, gone, is_bounded ? lost->second : OpenRequests::kNotSent);
  watched_.erase(peer);
  if (!open_.asks(peer)) return;
  const State now = watch(peer);
  if (now == State::absent || now == State::dead) open_.fail(peer, gone);
}

void PeerWatch::fail_on_closed(const std::string& peer) {
  const auto is_closed = [&](const OpenRequests::Entry& entry) {
    if (entry.peer != peer || entry.link == 0) return false;
    const auto closed = closed_links_.find(entry.link);
    return closed != closed_links_.end() && closed->second.is_over;
  };
  if (closed_links_.empty() || !open_.asks_any(is_closed)) return;
  member_.inbox().drain_beyond_limit();  // an answer may have come another way
  const auto why = std::make_exception_ptr(PeerGone(
      peer,
      "'" + peer +
          "' closed the connection before it answered, though its process lives: it may have no "
          "descriptors or no memory left (see its log); whether it has taken the request in can't be told"));
  open_.fail_if(is_closed, peer, why);
}

}  // namespace ipcm::client
