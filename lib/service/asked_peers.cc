// Requests' part of watching peers: how the end of a peer, or of a connection to it, ends the requests to it.

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "os/process.h"
#include "os/time_limit.h"
#include "service/requests.h"

namespace ipcm::service {
namespace {

constexpr auto kDyingTime = std::chrono::seconds(1);
/// The sockets of a process that ends are closed before the kernel tells that it has ended.
constexpr auto kEndingTime = std::chrono::milliseconds(250);
/// The last words of a peer are looked for as long as others keep sending; where they may be far behind,
/// longer.
constexpr auto kLastWordsTime = std::chrono::milliseconds(200),
               kLongLastWordsTime = std::chrono::milliseconds(2000);

}  // namespace

void Requests::note_lost(const std::string& peer, std::uint64_t link) {
  lost_.insert(peer);
  if (!asks(peer)) return;
  lost_at_[peer] = member_.losses();
  const bool has_open = link != 0 && std::any_of(open_.begin(), open_.end(), [&](const auto& entry) {
                          return entry.second.link == link && !entry.second.response;
                        });
  if (!has_open) return;
  Closed& closed = closed_links_[link];
  closed.peer = peer;
  closed.grace = member_.loop().at(os::from_now(kEndingTime), [this, peer, link] {
    if (const auto found = closed_links_.find(link); found != closed_links_.end())
      found->second.is_over = true;
    lost_.insert(peer);
  });
}

transport::Transport::Identified Requests::identify(const std::string& peer) {
  transport::Transport::Identified found;
  // A bus that can't be read just now tells nothing: what waits goes on waiting, within its limit.
  found.facts.state = transport::PeerFacts::State::present;
  try {
    found = member_.transport().identify(peer);
  } catch (const BusError&) {
    return found;
  } catch (const Timeout&) {
    return found;
  }
  // A look at a store is no single moment: it may find the row of one who was there, and no lock any more,
  // where that one suspended or was followed by another in between. The next look begins after that.
  if (found.facts.state == transport::PeerFacts::State::dead && member_.protocol().keeps_messages())
    found = member_.transport().identify(peer);
  return found;
}

transport::PeerFacts::State Requests::watch(const std::string& peer) {
  using State = transport::PeerFacts::State;
  // Who leaves without dying shows on its link; where there are none, in who is listed.
  if (!member_.transport().keeps_links()) member_.transport().watch_peers();
  // One that was away when we looked last may be back, or away until another time.
  if (const auto known = watched_.find(peer); known != watched_.end()) {
    if (known->second.pid != 0) return State::active;
    watched_.erase(known);
  }
  auto [facts, process] = identify(peer);
  Watched one;
  if (facts.state == State::suspended) {
    if (facts.expires) {
      constexpr double kFarAway = 1e8;
      const double until = *facts.expires - os::wall_clock_seconds();
      const double left = until > 0 ? std::min(until, kFarAway) : 0;  // also if it is no number
      // A moment later than that, so that it has passed by whichever clock.
      const auto when =
          os::from_now(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(left)) +
                       std::chrono::milliseconds(1));
      one.watch = member_.loop().at(when, [this, peer] { lost_.insert(peer); });
    }
  } else {
    // Its link or its place on the bus will tell.
    if (facts.pid <= 0 || facts.is_us || facts.pid == os::own_pid()) return facts.state;
    one.is_proven = static_cast<bool>(process);
    if (!process)
      if (auto claimed = os::open_process(facts.pid)) process = std::move(*claimed);
    if (!process) return facts.state;
    one.pid = facts.pid;
    one.process = std::move(process);
    one.watch = member_.loop().watch(one.process.get(), EPOLLIN, [this, peer](std::uint32_t) {
      lost_.insert(peer);
      watched_.at(peer).watch.want(0);  // once is enough; process() does the rest
    });
  }
  watched_.emplace(peer, std::move(one));
  return facts.state;
}

bool Requests::must_look() const {
  return !member_.transport().keeps_links() && seen_changes_ != member_.peer_changes() &&
         (!watched_.empty() || have_pending());
}

void Requests::look_after_all() {
  seen_changes_ = member_.peer_changes();
  // Whom we ask nothing just now is looked at afresh when we do.
  std::erase_if(watched_, [this](const auto& entry) { return !asks(entry.first); });
  for (const auto& [id, open] : open_)
    if (!open.response && open.sent_at != kHeld) lost_.insert(open.peer);
}

void Requests::look_after(const std::string& peer) {
  using State = transport::PeerFacts::State;
  const auto watched = watched_.find(peer);
  const Pid asked = watched == watched_.end() ? 0 : watched->second.pid;
  const bool is_proven = asked != 0 && watched->second.is_proven;
  bool ended = asked != 0 && os::has_ended(watched->second.process.get());
  const auto facts = look(peer);
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
  // On such a bus messages wait: for a peer that has suspended, and for a successor that is there.
  const bool has_successor = there && facts.pid != asked;
  if (member_.protocol().keeps_messages() && (facts.state == State::suspended || has_successor)) {
    if (asked == 0 && watched != watched_.end() && facts.state == State::suspended) return;
    watched_.erase(peer);
    if (asks(peer)) (void)watch(peer);
    return;
  }
  if (asks(peer)) {
    // Its last words first: they may be in a socket that we have not read, or in a connection not yet
    // accepted.
    const auto until =
        os::Deadline::after(member_.protocol().keeps_messages() ? kLongLastWordsTime : kLastWordsTime);
    std::uint64_t before = 0;
    do {
      before = member_.incoming_count();
      member_.drain();
    } while (member_.incoming_count() != before && asks(peer) && !until.has_passed());
  }
  if (asks(peer)) {
    // Its lock and its sockets go a moment before its process does; how that ended is part of the story.
    const bool dying = !ended && is_proven && facts.state == State::dead;
    if (dying) ended = os::await_end(watched->second.process.get(), os::limited(kDyingTime));
    std::optional<ExitStatus> status;
    if (child_status && (ended || facts.state == State::dead)) status = child_status(peer, asked);
    if (!status && ended) status = os::peek_exit_status(watched->second.process.get());
    const std::string how = status  ? "its process " + status->describe()
                            : ended ? "its process " + os::how_it_ended(watched->second.process.get(), {})
                            : facts.state == State::dead ? "its process has ended"
                                                         : "it left the bus";
    const auto gone = std::make_exception_ptr(
        PeerGone(peer, "'" + peer + "' went away before it answered: " + how, status));
    // What found the way to it lost, and another one to a successor, waits for that one's answer.
    const auto lost = lost_at_.find(peer);
    const bool tells = member_.transport().keeps_links() && lost != lost_at_.end();
    fail_all(peer, gone, has_successor && tells ? lost->second : kAll);
    watched_.erase(peer);
    if (asks(peer)) {
      const State now = watch(peer);
      if (now == State::absent || now == State::dead) fail_all(peer, gone, kAll);
    }
  }
  if (!asks(peer)) {
    watched_.erase(peer);
    lost_at_.erase(peer);
  }
}

void Requests::look_after_lost() {
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

void Requests::fail_on_closed(const std::string& peer) {
  const auto is_closed = [&](const Open& open) {
    if (open.peer != peer || open.response || open.link == 0) return false;
    const auto closed = closed_links_.find(open.link);
    return closed != closed_links_.end() && closed->second.is_over;
  };
  const auto has_some = [&] {
    return std::any_of(open_.begin(), open_.end(),
                       [&](const auto& entry) { return is_closed(entry.second); });
  };
  if (closed_links_.empty() || !has_some()) return;
  member_.drain();  // an answer may have come another way
  std::vector<std::string> ids;
  for (const auto& [id, open] : open_)
    if (is_closed(open)) ids.push_back(id);
  const auto why = std::make_exception_ptr(PeerGone(
      peer,
      "'" + peer +
          "' closed the connection before it answered, though its process lives: it may have no "
          "descriptors or no memory left (see its log); whether it has taken the request in can't be told"));
  for (const std::string& id : ids) answer(id, Response(id, peer, why));
}

}  // namespace ipcm::service
