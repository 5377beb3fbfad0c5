#include "service/requests.h"

#include <sys/epoll.h>

#include <algorithm>
#include <iterator>

#include "os/process.h"
#include "os/random.h"
#include "wire/conversation.h"

namespace ipcm::service {
namespace {

constexpr std::size_t kRemembered = 256;
constexpr auto kDyingTime = std::chrono::seconds(1);
/// Put aside while somebody waits for an answer, before the wait ends with an error.
constexpr std::size_t kLargestAside = 64UL * 1024 * 1024;
constexpr std::size_t kMessageOverhead = 256;

}  // namespace

Requests::Requests(std::shared_ptr<bus::Member> member)
    : shared_member_(std::move(member)), member_(*shared_member_) {
  member_.on_link_lost([this](const std::string& peer) {
    lost_.insert(peer);
    if (asks(peer)) lost_at_[peer] = member_.losses();
  });
}

Requests::~Requests() { member_.on_link_lost({}); }

void Requests::remember(std::string id, const char* what) {
  recent_.emplace_back(std::move(id), what);
  if (recent_.size() > kRemembered) recent_.pop_front();
}

transport::Transport::Identified Requests::identify(const std::string& peer) {
  auto found = member_.transport().identify(peer);
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
      const double left = std::clamp(*facts.expires - os::wall_clock_seconds(), 0.0, kFarAway);
      // A moment later than that, so that it has passed by whichever clock.
      const auto when = os::Clock::now() +
                        std::chrono::duration_cast<Duration>(std::chrono::duration<double>(left)) +
                        std::chrono::milliseconds(1);
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
      watched_.at(peer).watch.want(0);  // once is enough; settle() does the rest
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

void Requests::transmit(const std::string& peer, const std::string& id, const Content& payload) {
  const auto state = watch(peer);  // before the request is out: no death can be missed
  if (state == transport::PeerFacts::State::dead && member_.protocol().keeps_messages()) {
    watched_.erase(peer);  // its mailbox would take the request all the same
    throw PeerGone(peer, "'" + peer + "' can't be asked: its process has ended");
  }
  try {
    std::string begin = wire::request_begin(id);
    // One id for both: the request is what that message is about.
    member_.send_in_pieces(id, peer, wire::in_conversation(begin, payload));
    if (member_.sent_at() == 0) return;  // no way was ever lost
    if (const auto open = open_.find(id); open != open_.end()) open->second.sent_at = member_.sent_at();
  } catch (const PeerGone& gone) {
    const auto watched = watched_.find(peer);
    const Pid asked = watched == watched_.end() ? 0 : watched->second.pid;
    const auto status = child_status ? child_status(peer, asked) : std::nullopt;
    if (!status) throw;
    throw PeerGone(peer, std::string(gone.what()) + " (it " + status->describe() + ")", status);
  }
}

std::string Requests::send(const std::string& peer, const Content& payload, ResponseCallback callback) {
  member_.expect_usable();
  part_from_predecessor(peer);
  std::string id = os::make_uuid();
  const auto held = held_.find(peer);
  open_.emplace(id, Open{peer, std::move(callback), {}, held == held_.end() ? 0 : kHeld});
  if (held != held_.end()) {
    held->second.push_back({id, payload});
    return id;
  }
  try {
    transmit(peer, id, payload);
  } catch (...) {
    ++changes_;
    open_.erase(id);
    if (!asks(peer)) watched_.erase(peer);
    throw;
  }
  return id;
}

void Requests::part_from_predecessor(const std::string& peer) {
  // What was asked of one that has ended meanwhile fails first. Where a way to it is open, and nothing waits
  // on it, sending finds out.
  bool ended = lost_.erase(peer) > 0;
  if (const auto watched = watched_.find(peer);
      !ended && watched != watched_.end() && !member_.transport().has_clear_link(peer))
    ended = watched->second.process && os::has_ended(watched->second.process.get());
  if (ended) look_after(peer);
}

void Requests::hold(const std::string& peer) { held_.try_emplace(peer); }

void Requests::let_go(const std::string& peer) {
  auto held = held_.extract(peer);
  if (held.empty()) return;
  part_from_predecessor(peer);
  for (const Held& one : held.mapped()) {
    const auto found = open_.find(one.id);
    if (found == open_.end()) continue;
    found->second.sent_at = 0;
    try {
      transmit(peer, one.id, one.payload);
    } catch (const Error&) {
      answer(one.id, Response(one.id, peer, std::current_exception()));
    }
  }
}

void Requests::fail_held(const std::string& peer, const std::exception_ptr& why) {
  const auto held = held_.extract(peer);
  if (held.empty()) return;
  for (const Held& one : held.mapped()) answer(one.id, Response(one.id, peer, why));
}

void Requests::answer(const std::string& id, Response response) {
  if (const auto found = open_.find(id); found != open_.end()) answer(found, std::move(response));
}

void Requests::answer(OpenRequests::iterator open, Response&& response) {
  ++changes_;
  if (open->second.callback) {
    due_.emplace_back(std::move(open->second.callback), std::move(response));
    remember(std::move(open_.extract(open).key()), "was answered already");
  } else {
    open->second.response = std::move(response);
  }
}

void Requests::fail_all(const std::string& peer, const std::exception_ptr& why, std::uint64_t sent_before) {
  std::vector<std::string> ids;
  for (const auto& [id, open] : open_)
    if (open.peer == peer && !open.response && open.sent_at < sent_before) ids.push_back(id);
  for (const std::string& id : ids) answer(id, Response(id, peer, why));
}

bool Requests::asks(const std::string& peer) const {
  return std::any_of(open_.begin(), open_.end(), [&](const auto& entry) {
    const Open& open = entry.second;
    return open.peer == peer && !open.response && open.sent_at != kHeld;
  });
}

bool Requests::sort_inbox() {
  std::vector<std::string> finished;  // an answer ends with its request, in this process
  auto arrived = std::exchange(room_, {});
  member_.take_each(arrived);
  const bool found_some = !arrived.empty();
  auto rest = arrived.begin();
  for (wire::Heard& heard : arrived) {
    const std::size_t size = heard.size() + kMessageOverhead;
    if (!heard.said) heard.said = wire::take_apart(heard.message.content, takes_requests);
    if (heard.said->meaning == wire::Meaning::response) {
      if (member_.keeps_messages()) finished.push_back(heard.message.id);
      take_answer(heard.message.from, *heard.said);
      continue;
    }
    others_bytes_ += size;
    if (&*rest != &heard) *rest = std::move(heard);
    ++rest;
  }
  arrived.erase(rest, arrived.end());
  if (others_.empty())
    others_.swap(arrived);
  else
    std::move(arrived.begin(), arrived.end(), std::back_inserter(others_));
  member_.finish(finished);
  bus::clear_for_more(arrived);
  room_ = std::move(arrived);
  return found_some;
}

void Requests::take_answer(const std::string& from, wire::Conversation& said) {
  const auto found = open_.find(said.id);
  if (found == open_.end() || found->second.response) {
    const auto known = std::find_if(recent_.begin(), recent_.end(),
                                    [&](const auto& entry) { return entry.first == said.id; });
    const bool second = found != open_.end();
    member_.note_dropped("an answer from '" + from + "' was dropped: its request " + said.id + " " +
                         (second                   ? "was answered already"
                          : known == recent_.end() ? "was never made"
                                                   : known->second));
  } else if (said.error.empty()) {
    answer(found, Response(std::move(said.id), from, std::move(said.payload)));
  } else {
    auto failure = std::make_exception_ptr(RemoteError(from, said.error));
    answer(found, Response(std::move(said.id), from, std::move(failure)));
  }
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
    return;
  }
  if (!ended && there && (asked == 0 || facts.pid == asked)) {
    if (asked == 0 && watched != watched_.end()) {  // it is back
      watched_.erase(watched);
      (void)watch(peer);
    }
    return;  // or it only closed a connection
  }
  // What was sent to it waits for it on such a bus: for who has suspended, and for a successor that is there.
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
    do {
      member_.drain();
    } while (sort_inbox() && asks(peer));
  }
  if (asks(peer)) {
    // Its lock and its sockets go a moment before its process does; how that ended is part of the story.
    const bool dying = !ended && is_proven && facts.state == State::dead;
    if (dying) ended = os::await_end(watched->second.process.get(), os::Deadline::after(kDyingTime));
    std::optional<ExitStatus> status;
    if (child_status && (ended || facts.state == State::dead)) status = child_status(peer, asked);
    if (!status && ended) status = os::peek_exit_status(watched->second.process.get());
    const std::string how = status                                ? "its process " + status->describe()
                            : ended || facts.state == State::dead ? "its process has ended"
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

void Requests::settle() {
  if (closed_) return;
  if (follow_starts) follow_starts();
  (void)sort_inbox();
  if (must_look()) look_after_all();
  while (!lost_.empty()) {
    const std::string peer = *lost_.begin();
    lost_.erase(lost_.begin());
    look_after(peer);
  }
  run_due();
}

void Requests::run_due() {
  while (!due_.empty() && !closed_) {
    const auto [callback, response] = std::move(due_.front());
    due_.pop_front();
    callback(response);
  }
}

void Requests::finish_others() { member_.finish(std::exchange(unfinished_, {})); }

void Requests::take_others(std::vector<wire::Heard>& into) {
  finish_others();
  others_.swap(into);
  others_bytes_ = 0;
  if (member_.keeps_messages())
    for (const wire::Heard& heard : into) unfinished_.push_back(heard.message.id);
}

std::vector<Message> Requests::messages() {
  member_.expect_usable();
  member_.drain();
  settle();
  std::vector<Message> taken;
  std::vector<wire::Heard> others;
  take_others(others);
  for (wire::Heard& heard : others) taken.push_back(std::move(heard).whole());
  return taken;
}

Requests::OpenRequests::iterator Requests::open(const std::string& id) {
  const auto found = open_.find(id);
  if (found == open_.end()) {
    const auto known =
        std::find_if(recent_.begin(), recent_.end(), [&](const auto& entry) { return entry.first == id; });
    throw UsageError("request " + id +
                     (known == recent_.end() ? " was never made here" : std::string(" ") + known->second));
  }
  if (found->second.callback) throw UsageError("request " + id + " has a callback, which gets its response");
  return found;
}

std::optional<Response> Requests::get(const std::string& id) {
  auto found = open(id);
  if (!found->second.response) {
    member_.drain();
    settle();
    expect_open();
    found = open_.find(id);
  }
  if (found == open_.end() || !found->second.response) return std::nullopt;
  return hand_out(found);
}

Response Requests::hand_out(OpenRequests::iterator open) {
  ++changes_;
  Response response = std::move(*open->second.response);
  remember(std::move(open_.extract(open).key()), "was answered, and its response was handed out already");
  return response;
}

/// Runs the loop until `done`. What came meanwhile and was not waited for is to be seen by who waits for
/// fd().
template <class Done>
bool Requests::wait(Done&& done, os::Deadline deadline) {
  member_.send_batch();  // it may be what is waited for
  const bool reached = member_.loop().run_until(
      [&] {
        settle();
        if (closed_ || done()) return true;
        if (others_bytes_ <= kLargestAside) return false;
        throw Error("waiting for an answer was given up: " + std::to_string(others_.size()) +
                    " other messages came meanwhile, more than 64 MiB; take them with messages(), then go on "
                    "waiting");
      },
      deadline);
  if (!closed_ && has_work()) member_.loop().nudge();
  return reached;
}

void Requests::expect_open() const {
  if (closed_)
    throw UsageError("'" + member_.name() + "' was shut down by a callback while it waited for an answer");
}

Response Requests::await(const std::string& id, os::Deadline deadline) {
  member_.expect_usable();
  auto awaited = open(id);
  const std::string peer = awaited->second.peer;
  std::uint64_t seen = changes_;
  const bool there = wait(
      [&] {
        if (std::exchange(seen, changes_) != changes_) awaited = open_.find(id);
        return awaited == open_.end() || awaited->second.response;
      },
      deadline);
  expect_open();
  if (!there) throw Timeout("'" + peer + "' has not answered in time; it is still there");
  if (awaited == open_.end()) awaited = open(id);  // a callback has taken it: says so
  return hand_out(awaited);
}

Response Requests::ask(const std::string& peer, const Content& payload, os::Deadline deadline) {
  member_.send_batch();  // before there is a request that would stay open
  const std::string id = send(peer, payload, {});
  try {
    return await(id, deadline);
  } catch (const Timeout&) {
    ++changes_;
    open_.erase(id);
    remember(id, "had been given up: the answer came too late");
    throw;
  }
}

bool Requests::have_pending() const {
  return std::any_of(open_.begin(), open_.end(), [](const auto& entry) { return !entry.second.response; });
}

void Requests::await_all(os::Deadline deadline) {
  member_.expect_usable();
  const bool all = wait([&] { return !have_pending(); }, deadline);
  if (have_pending()) expect_open();
  if (all) return;
  std::string who;
  for (const auto& [id, open] : open_)
    if (!open.response && who.find("'" + open.peer + "'") == std::string::npos)
      who.append(who.empty() ? "'" : ", '").append(open.peer).append("'");
  throw Timeout("not all requests were answered in time; open are some to " + who);
}

}  // namespace ipcm::service
