#include "bus/member.h"

#include <utility>

#include "ipcm/error.h"
#include "os/descriptor.h"
#include "os/time_limit.h"
#include "transport/protocols.h"

namespace ipcm::bus {
Member::Member(const transport::JoinRequest& request, std::shared_ptr<Loop> loop, Sending sending)
    : request_(request),
      loop_(std::move(loop)),
      protocol_(transport::find_protocol(request.info.protocol)),
      born_in_(os::generation()),
      inbox_(*loop_, counts_),
      sender_(*this, counts_, sending) {
  transport::expect_no_url(request.info.route);
  request_.serializer = wire::make_serializer(request.info);
  transport_ = protocol_.join(request_, *loop_, *this);
  counts_.start(*transport_);
  inbox_.start(*transport_, protocol_.keeps_messages());
}

Member::~Member() { leave_silently(); }

void Member::accept_answers() try {
  // With such links, an answer comes back on the connection of its request.
  if (!request_.anonymous || (transport_->keeps_links() && !protocol_.keeps_messages())) return;
  sender_.send_batch();
  transport::JoinRequest request = request_;
  request.anonymous = false;
  auto joined = protocol_.join(request, *loop_, *this);
  request_.anonymous = false;
  // The anonymous one leaves nothing behind: the counts stay here.
  std::swap(transport_, joined);
  if (telling_ > 0) former_transport_ = std::move(joined);  // it is at work
  counts_.start(*transport_);
  inbox_.start(*transport_, protocol_.keeps_messages());
  if (watches_peers_) transport_->watch_peers();
} catch (const SystemError& error) {
  throw BusError(std::string("the bus can't be used: ") + error.what());
}

void Member::watch_peers() {
  transport_->watch_peers();
  watches_peers_ = true;
}

void Member::leave_silently() noexcept {
  try {
    leave(os::Deadline::passed());
  } catch (const std::exception&) {
    // The transport lets go of its place in any case.
  }
}

bool Member::is_usable() const { return !left_ && born_in_ == os::generation(); }

void Member::expect_usable() const {
  if (born_in_ != os::generation())
    throw UsageError(
        "the client '" + name() +
        "' belongs to the process that joined the bus, not to one forked from it; join under another name");
  if (left_) throw UsageError("the client '" + name() + "' has left the bus");
}

void Member::expect_carries_fields() const {
  const bool in_columns = !protocol_.carries_fields();
  if (in_columns || !request_.serializer->carries_fields())
    throw UsageError("fields can't be sent on this bus: " +
                     (in_columns ? "the protocol " + request_.info.protocol + " stores messages in columns"
                                 : "messages of the serializer " + request_.info.serializer + " have none") +
                     "; put them into the content");
}

template <class Reached>
bool Member::await_state(const std::string& peer, os::Deadline deadline, Reached&& reached) {
  expect_usable();
  const os::TimeLimit limit(deadline);
  sender_.send_batch();
  watch_peers();  // before the first look, so that no change is missed
  for (;;) {
    const std::uint64_t seen = peer_changes_;
    if (reached(transport_->look(peer).state)) return true;
    expect_bus();
    if (!transport_->has_bus()) throw BusError("the bus at '" + info().route + "' was removed");
    const auto is_over = [&] { return left_ || is_to_leave(); };  // a callback has ended the owner
    const bool changed = loop_->run_until([&] { return peer_changes_ != seen || is_over(); }, deadline);
    if (is_over()) return false;
    if (!changed) return reached(transport_->look(peer).state);
  }
}

bool Member::await_active(const std::string& peer, os::Deadline deadline) {
  using State = transport::PeerFacts::State;
  return await_state(peer, deadline, [](State state) { return state == State::active; });
}

bool Member::await_gone(const std::string& peer, os::Deadline deadline) {
  using State = transport::PeerFacts::State;
  return await_state(peer, deadline,
                     [](State state) { return state == State::absent || state == State::dead; });
}

void Member::leave(os::Deadline flush) {
  if (!is_usable()) return;
  if (telling_ > 0) {
    to_leave_ = true;
    return;
  }
  sender_.finish();
  loop_->run_until([&] { return transport_->queued_messages() == 0; }, flush);
  inbox_.finish_taken();
  inbox_.finish_answers();
  left_ = true;
  inbox_.close();
  transport_->leave(counts_.stored());
}

void Member::suspend(std::optional<double> expires, os::Deadline flush) {
  expect_usable();
  sender_.send_batch();
  loop_->run_until([&] { return transport_->queued_messages() == 0; }, flush);
  inbox_.finish_taken();
  transport_->suspend(counts_.stored(), expires);
  left_ = true;
  inbox_.close();
}

void Member::incoming(wire::IncomingMessage message) { inbox_.incoming(std::move(message)); }

void Member::connection_lost(const std::string& peer, std::uint64_t link) {
  ++peer_changes_;
  ++losses_;
  if (link_lost_) link_lost_(peer, link);
}

void Member::bus_ended(const std::string& why) {
  ++peer_changes_;
  if (ended_.empty()) ended_ = why;
}

void Member::expect_bus() const {
  if (!ended_.empty()) throw BusError(ended_);
}

void Member::notice_removal() {
  constexpr auto kLongLife = std::chrono::milliseconds(100);
  if (watches_place_ || place_timer_) return;
  transport_->note_own_place();
  transport_->look_at_own_place();
  place_timer_ = loop_->at(os::Clock::now() + kLongLife, [this] {
    place_timer_.stop();
    try {
      transport_->watch_own_place();
      watches_place_ = true;
    } catch (const SystemError&) {
      // No watch is left.
    }
  });
}

void Member::undelivered(const std::string& peer, std::size_t messages, const std::string& why) {
  // A caller that waits for these messages gets an exception, and no diagnostic in addition.
  if (!sender_.undelivered(peer, why)) Receiver::undelivered(peer, messages, why);
}

void Member::dropped(const std::string& sentence) {
  ++dropped_;
  if (!diagnostics_ || to_leave_) return;
  // The callback may destroy its client, or replace itself.
  const auto kept = weak_from_this().lock();
  const Diagnostics tell = diagnostics_;
  ++telling_;
  try {
    tell(sentence);
  } catch (...) {
    --telling_;
    throw;
  }
  --telling_;
  // The transport is still at work: it ends in a later turn of the loop, unless a call of the client holds
  // it.
  if (kept && kept.use_count() == 1) end_ = loop_->at(os::Clock::now(), [kept] {});
}

}  // namespace ipcm::bus
