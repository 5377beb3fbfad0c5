#include "client/pending_requests.h"

#include <map>
#include <utility>

#include "os/random.h"
#include "os/time_limit.h"
#include "wire/printable.h"

namespace ipcm::client {

PendingRequests::PendingRequests(std::shared_ptr<bus::Member> member, IncomingRequests incoming,
                                 UnmatchedAnswers unmatched)
    : shared_member_(std::move(member)),
      member_(*shared_member_),
      incoming_(incoming),
      unmatched_(unmatched),
      peers_(member_, open_, starts_),
      listing_(
          member_.loop(),
          [this](const std::string& why) { member_.note_dropped("the peers can't be listed: " + why); },
          [] {}) {
  if (unmatched_ == UnmatchedAnswers::drop) attach();
}

PendingRequests::~PendingRequests() {
  if (attached_) member_.inbox().on_answer({}, IncomingRequests::whole);
}

void PendingRequests::attach() {
  member_.accept_answers();
  attached_ = true;
  member_.inbox().on_answer(
      [this](const std::string& from, wire::ParsedContent& answer) { return take_answer(from, answer); },
      incoming_);
}

void PendingRequests::on_unmatched(ResponseCallback callback) {
  member_.expect_usable();
  on_unmatched_ = std::move(callback);
  attach();  // again, for the answers in the inbox
}

void PendingRequests::on_peer_delta(PeerDeltaCallback callback) {
  member_.expect_usable();
  if (!callback)
    peer_changes_.reset();
  else if (!peer_changes_)
    peer_changes_.emplace(member_);
  on_peer_delta_ = std::move(callback);
}

void PendingRequests::run_peer_delta() {
  if (!has_peer_delta()) return;
  std::map<std::string, int> delta;
  if (!listing_.attempt([&] { delta = peer_changes_->take(); }) || delta.empty()) return;
  const PeerDeltaCallback callback = on_peer_delta_;  // the call may replace it
  callback(delta);
}

void PendingRequests::transmit(OpenRequests::Position request, const std::string& id, std::string begin,
                               const Content& payload, const Fields& fields) {
  const std::string& peer = request->second.peer;
  const auto state = peers_.watch(peer);  // before the request is out: no death can be missed
  if (state == transport::PeerFacts::State::dead && member_.protocol().keeps_messages()) {
    peers_.forget(peer);  // its mailbox would accept the request all the same
    throw PeerGone(peer, "'" + peer + "' can't be asked: its process has ended");
  }
  try {
    const std::uint64_t seen = open_.changes();
    // The message and the request have the same id.
    member_.sender().send_slices(id, peer, wire::wrap_payload(begin, payload), 0, fields);
    if (seen != open_.changes()) request = open_.find(id);  // it may be over, after a wait
    if (request == open_.end()) return;
    request->second.sent_at = member_.sender().sent_at();
    request->second.link = member_.transport().last_link();
  } catch (const PeerGone& gone) {
    const auto status = starts_.status_of(peer, peers_.watched_pid(peer));
    if (!status) throw;
    throw PeerGone(peer, std::string(gone.what()) + " (it " + status->describe() + ")", status);
  }
}

std::string PendingRequests::send(const std::string& peer, const Content& payload, ResponseCallback callback,
                                  const MessageOptions& options) {
  member_.expect_usable();
  member_.sender().check_fields(options.fields);  // before the request may be held
  if (!attached_) attach();
  peers_.part_from_predecessor(peer);
  std::string id = os::make_uuid();
  const bool is_held = starts_.holds(peer);
  const auto request = open_.add(id, {peer, std::move(callback), {}, is_held ? OpenRequests::kNotSent : 0});
  if (is_held) {
    starts_.add(peer, {id, payload, options.fields});
    return id;
  }
  transmit_or_forget(request, id, wire::request_begin(id), payload, options.fields);
  return id;
}

void PendingRequests::transmit_or_forget(OpenRequests::Position request, const std::string& id,
                                         std::string begin, const Content& payload, const Fields& fields) {
  const std::string peer = request->second.peer;
  try {
    transmit(request, id, std::move(begin), payload, fields);
  } catch (...) {
    open_.erase(id);
    if (!open_.asks(peer)) peers_.forget(peer);
    throw;
  }
}

std::string PendingRequests::send_inspection(const std::string& peer) {
  using PeerState = transport::PeerFacts::State;
  member_.expect_usable();
  if (!attached_) attach();
  peers_.part_from_predecessor(peer);
  const auto facts = member_.transport().look(peer);  // as late as possible: another peer may take the name
  const std::string shown = "'" + wire::printable_name(peer) + "' can't be inspected: it ";
  if (facts.state == PeerState::absent) throw PeerGone(peer, shown + "is not on the bus");
  if (facts.state == PeerState::dead) throw PeerGone(peer, shown + "has died");
  if (facts.state == PeerState::suspended) throw PeerGone(peer, shown + "is suspended, and answers nothing");
  if (!facts.is_inspectable)
    throw UsageError(shown + "is not a service of this library, or of an earlier version");
  if (facts.state == PeerState::present) throw PeerGone(peer, shown + "is starting, and answers nothing yet");
  std::string id = os::make_uuid();
  transmit_or_forget(open_.add(id, {peer, {}, {}, 0}), id, wire::inspection_begin(id), {}, {});
  return id;
}

void PendingRequests::release_decided() {
  for (const auto& [peer, failure, requests] : starts_.take_decided()) {
    for (const auto& [id, payload, fields] : requests) {
      const auto request = open_.find(id);
      if (request == open_.end()) continue;
      try {
        if (failure) std::rethrow_exception(failure);
        peers_.part_from_predecessor(peer);
        request->second.sent_at = 0;
        transmit(request, id, wire::request_begin(id), payload, fields);
      } catch (const Error&) {
        open_.answer(id, Response(id, peer, std::current_exception()));
      }
    }
  }
}

void PendingRequests::fail_held(const std::string& peer, const std::vector<HeldStarts::Request>& requests,
                                const std::exception_ptr& why) {
  for (const auto& held : requests) open_.answer(held.id, Response(held.id, peer, why));
}

bool PendingRequests::take_answer(const std::string& from, wire::ParsedContent& answer) {
  const auto request = open_.find(answer.id);
  const bool is_open = request != open_.end() && !request->second.response;
  const char* known = request != open_.end() ? "was answered already" : open_.history(answer.id);
  if (!is_open && known == nullptr && !on_unmatched_ && unmatched_ == UnmatchedAnswers::keep) return false;
  const auto response = [&] {
    if (answer.error.empty()) return Response(std::move(answer.id), from, std::move(answer.payload));
    auto failure = std::make_exception_ptr(RemoteError(from, answer.error));
    return Response(std::move(answer.id), from, std::move(failure));
  };
  if (is_open) {
    open_.answer(request, response());
  } else if (known == nullptr && on_unmatched_) {
    open_.call_later(on_unmatched_, response());
  } else {
    // Last: a diagnostic callback may destroy this object.
    member_.note_dropped("an answer from '" + wire::printable_name(from) + "' was dropped: its request " +
                         wire::printable_name(answer.id) + " " +
                         (known == nullptr ? "was never made" : known));
  }
  return true;
}

void PendingRequests::fail_ended() {
  if (member_.ended().empty() || std::exchange(failed_ended_, true)) return;
  const auto why = std::make_exception_ptr(BusError(member_.ended()));
  for (const std::string& peer : open_.pending_peers()) {
    fail_held(peer, starts_.take_requests(peer), why);
    open_.fail(peer, why);
  }
}

void PendingRequests::process() {
  if (is_over()) return;
  release_decided();
  peers_.process();
  member_.inbox().finish_answers();
  fail_ended();
  open_.run_callbacks([this] { return is_over(); });
  if (!is_over()) run_peer_delta();
}

std::vector<Message> PendingRequests::messages() {
  member_.expect_usable();
  member_.inbox().finish_taken();
  member_.inbox().drain();
  process();
  return member_.inbox().take();
}

std::optional<Response> PendingRequests::get(const std::string& id) {
  member_.expect_usable();
  auto request = open_.expect(id);
  if (!request->second.response) {
    member_.inbox().drain();
    process();
    expect_open();
    request = open_.find(id);
  }
  if (request == open_.end() || !request->second.response) return std::nullopt;
  member_.inbox().finish_answers();
  return open_.fetch(request);
}

template <class Done>
bool PendingRequests::wait(Done&& done, os::Deadline deadline) {
  member_.sender().send_batch();  // the answer may be to a message in it
  return member_.loop().run_until(
      [&] {
        process();
        if (is_over() || done()) return true;
        if (!member_.inbox().is_full()) return false;
        throw Error("waiting for an answer was given up: " + std::to_string(member_.inbox().size()) +
                    " other messages came meanwhile, more than 64 MiB; take them with messages(), then go on "
                    "waiting");
      },
      deadline);
}

void PendingRequests::expect_open() const {
  if (is_over())
    throw UsageError("'" + member_.name() + "' was shut down by a callback while it waited for an answer");
}

Response PendingRequests::await(const std::string& id, os::Deadline deadline) {
  member_.expect_usable();
  const os::TimeLimit limit(deadline);
  auto awaited = open_.expect(id);
  const std::string peer = awaited->second.peer;
  std::uint64_t seen = open_.changes();
  const bool there = wait(
      [&] {
        if (std::exchange(seen, open_.changes()) != open_.changes()) awaited = open_.find(id);
        return awaited == open_.end() || awaited->second.response;
      },
      deadline);
  if (is_over()) {
    awaited = open_.find(id);
    if (awaited == open_.end() || !awaited->second.response) expect_open();
  }
  if (!there) throw Timeout("'" + peer + "' has not answered in time; it is still there");
  if (awaited == open_.end()) awaited = open_.expect(id);  // a callback has fetched it: throws
  return open_.fetch(awaited);
}

Response PendingRequests::ask(const std::string& peer, const Content& payload, os::Deadline deadline,
                              const MessageOptions& options) {
  const os::TimeLimit limit(deadline);
  member_.sender().send_batch();  // before there is a request that would stay open
  const std::string id = send(peer, payload, {}, options);
  try {
    return await(id, deadline);
  } catch (const Timeout&) {
    open_.give_up(id);
    throw;
  }
}

void PendingRequests::forget(const std::string& id) {
  member_.expect_usable();
  if (open_.find(id) != open_.end()) open_.give_up(id);
}

void PendingRequests::await_all(os::Deadline deadline) {
  member_.expect_usable();
  const os::TimeLimit limit(deadline);
  const bool all = wait([&] { return !have_pending(); }, deadline);
  if (have_pending() || open_.has_callbacks()) expect_open();
  if (all) return;
  std::string peers;
  for (const std::string& peer : open_.pending_peers())
    peers.append(peers.empty() ? "'" : ", '").append(peer).append("'");
  throw Timeout("not all requests were answered in time; open are some to " + peers);
}

}  // namespace ipcm::client
