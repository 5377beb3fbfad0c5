#include "service/requests.h"

#include <algorithm>

#include "os/process.h"
#include "os/random.h"
#include "os/time_limit.h"
#include "wire/conversation.h"
#include "wire/printable.h"

namespace ipcm::service {
namespace {

constexpr std::size_t kRemembered = 256;

}  // namespace

Requests::Requests(std::shared_ptr<bus::Member> member, IncomingRequests incoming)
    : shared_member_(std::move(member)),
      member_(*shared_member_),
      looking_(
          member_.loop(),
          [this](const std::string& why) { member_.note_dropped("requests have to wait: " + why); }, [] {}) {
  member_.on_link_lost([this](const std::string& peer, std::uint64_t link) { note_lost(peer, link); });
  member_.on_answer(
      [this](const std::string& from, wire::Conversation& answer) { take_answer(from, answer); }, incoming);
}

Requests::~Requests() {
  member_.on_link_lost({});
  member_.on_answer({}, IncomingRequests::whole);
}

void Requests::remember(std::string id, const char* what) {
  recent_.emplace_back(std::move(id), what);
  if (recent_.size() > kRemembered) recent_.pop_front();
}

void Requests::transmit(OpenRequests::iterator open, const std::string& id, const Content& payload) {
  const std::string& peer = open->second.peer;
  const auto state = watch(peer);  // before the request is out: no death can be missed
  if (state == transport::PeerFacts::State::dead && member_.protocol().keeps_messages()) {
    watched_.erase(peer);  // its mailbox would take the request all the same
    throw PeerGone(peer, "'" + peer + "' can't be asked: its process has ended");
  }
  try {
    std::string begin = wire::request_begin(id);
    const std::uint64_t seen = changes_;
    // One id for both: the request is what that message is about.
    member_.send_in_pieces(id, peer, wire::in_conversation(begin, payload));
    if (seen != changes_) open = open_.find(id);  // it may be over, after a wait
    if (open == open_.end()) return;
    open->second.sent_at = member_.sent_at();
    open->second.link = member_.transport().last_link();
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
  const auto open =
      open_.emplace(id, Open{peer, std::move(callback), {}, held == held_.end() ? 0 : kHeld}).first;
  if (held != held_.end()) {
    held->second.push_back({id, payload});
    return id;
  }
  try {
    transmit(open, id, payload);
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
      transmit(found, one.id, one.payload);
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

void Requests::take_answer(const std::string& from, wire::Conversation& said) {
  const auto found = open_.find(said.id);
  if (found == open_.end() || found->second.response) {
    const auto known = std::find_if(recent_.begin(), recent_.end(),
                                    [&](const auto& entry) { return entry.first == said.id; });
    const bool second = found != open_.end();
    // Last: a diagnostic callback may destroy this object.
    member_.note_dropped("an answer from '" + wire::printable_name(from) + "' was dropped: its request " +
                         wire::printable_name(said.id) + " " +
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

void Requests::fail_ended() {
  if (member_.ended().empty() || std::exchange(failed_ended_, true)) return;
  const auto why = std::make_exception_ptr(BusError(member_.ended()));
  std::set<std::string> asked;
  for (const auto& [id, open] : open_) asked.insert(open.peer);
  for (const std::string& peer : asked) {
    fail_held(peer, why);
    fail_all(peer, why, kAll);
  }
}

void Requests::process() {
  if (closed_) return;
  if (follow_starts) follow_starts();
  if (must_look() || !lost_.empty()) (void)looking_.attempt([this] { look_after_lost(); });
  member_.finish_answers();
  fail_ended();
  run_due();
}

void Requests::run_due() {
  while (!due_.empty() && !closed_) {
    const auto [callback, response] = std::move(due_.front());
    due_.pop_front();
    callback(response);
  }
}

std::vector<Message> Requests::messages() {
  member_.expect_usable();
  member_.finish_taken();
  member_.drain();
  process();
  return member_.take();
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
    process();
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
        process();
        if (closed_ || done()) return true;
        if (!member_.is_inbox_full()) return false;
        throw Error("waiting for an answer was given up: " + std::to_string(member_.inbox_messages()) +
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
  const os::TimeLimit limit(deadline);
  auto awaited = open(id);
  const std::string peer = awaited->second.peer;
  std::uint64_t seen = changes_;
  const bool there = wait(
      [&] {
        if (std::exchange(seen, changes_) != changes_) awaited = open_.find(id);
        return awaited == open_.end() || awaited->second.response;
      },
      deadline);
  if (closed_) {
    awaited = open_.find(id);
    if (awaited == open_.end() || !awaited->second.response) expect_open();
  }
  if (!there) throw Timeout("'" + peer + "' has not answered in time; it is still there");
  if (awaited == open_.end()) awaited = open(id);  // a callback has taken it: says so
  return hand_out(awaited);
}

Response Requests::ask(const std::string& peer, const Content& payload, os::Deadline deadline) {
  const os::TimeLimit limit(deadline);
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
  const os::TimeLimit limit(deadline);
  const bool all = wait([&] { return !have_pending(); }, deadline);
  if (have_pending() || !due_.empty()) expect_open();
  if (all) return;
  std::string who;
  for (const auto& [id, open] : open_)
    if (!open.response && who.find("'" + open.peer + "'") == std::string::npos)
      who.append(who.empty() ? "'" : ", '").append(open.peer).append("'");
  throw Timeout("not all requests were answered in time; open are some to " + who);
}

}  // namespace ipcm::service
