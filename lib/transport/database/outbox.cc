#include "transport/database/outbox.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "ipcm/error.h"
#include "transport/database/message_rows.h"
#include "transport/database/statement_timeout.h"
#include "wire/frame.h"

namespace ipcm::database {
namespace {

using transport::PeerFacts;
using State = PeerFacts::State;
using Kind = Failure::Kind;

/// The limit of bytes in the queue for one peer.
constexpr std::size_t kLargestQueue = wire::kLargestFrame;

}  // namespace

Outbox::Outgoing Outbox::prepare(const Message& message) {
  Outgoing out{message.id, message.to, request_.serializer->write_content(message.content), 0,
               message.broadcast};
  if (out.payload.size() > wire::kLargestFrame)
    throw ProtocolError("a message of " + std::to_string(out.payload.size()) + " bytes to '" + message.to +
                        "' is larger than the limit of " + std::to_string(wire::kLargestFrame));
  if (const std::string limit = store_.exceeded_limit(out.payload); !limit.empty())
    throw ProtocolError("a message of " + std::to_string(out.payload.size()) + " bytes to '" + message.to +
                        "' is larger than " + limit);
  // There is no column for stamp_ord, so stamps grow by the smallest step of a double.
  out.stamp = last_stamp_ =
      std::max(message.stamp, std::nextafter(last_stamp_, std::numeric_limits<double>::infinity()));
  return out;
}

Outbox::SendResult Outbox::send(Outgoing message) {
  if (queue_.empty()) {
    const StatementTimeout timeout(store_, kSending);
    Tried tried = try_send(message);
    switch (tried.how) {
      case Attempt::done:
        return Sent::done;
      case Attempt::gone:
        return {Sent::gone, std::move(tried.why)};
      case Attempt::full:
        return {Sent::full, std::move(tried.why)};
      case Attempt::busy:
        break;
    }
  }
  SendResult queued = queue(std::move(message));
  if (queued.sent == Sent::queued) calls_.try_again_later();
  return queued;
}

Outbox::SendResult Outbox::queue(Outgoing message) {
  const std::size_t waiting = queued_bytes(message.to);
  if (waiting > 0 && waiting + message.payload.size() > kLargestQueue) {
    return {Sent::full, "the database is locked by another process, or can't be reached, and " +
                            std::to_string(queue_.size()) + " messages wait for that already"};
  }
  queue_.push_back(std::move(message));
  return Sent::queued;
}

void Outbox::give_up(const std::string& why) {
  for (const Outgoing& one : std::exchange(queue_, {})) receiver_.undelivered(one.to, 1, why);
}

Outbox::Tried Outbox::try_send(const Outgoing& message) {
  try {
    if (was_stored(message)) {
      store_.sent();
      return {Attempt::done};
    }
    const std::string to = store_.id_of(message.to);
    // A peer that leaves changes its row, which the statement itself checks. So only a death needs a check
    // before it, and not even that while the process is known to run.
    const bool known = peer_processes_.is_known_alive(message.to);
    if (!known) {
      const auto row = store_.row(to);
      const PeerFacts facts = row ? row->facts : PeerFacts{};
      if (!is_there(facts.state)) {
        return {Attempt::gone, facts.state == State::dead ? "its process is gone"
                               : row                      ? "it has left the bus at " + store_.where()
                                                          : "no such peer on the bus at " + store_.where()};
      }
      calls_.watch_rows();
      const bool is_active = row->facts.state == transport::PeerFacts::State::active;
      peer_processes_.open(message.to, *row, is_active ? store_.process_of(*row) : os::UniqueFd());
    }
    if (std::string why = why_full(to, message.payload.size()); !why.empty())
      return {Attempt::full, std::move(why)};
    if (insert(message, to)) {
      store_.sent();
      return {Attempt::done};
    }
    peer_processes_.close(message.to);
    if (known) return try_send(message);  // which checks the row, and can report the reason
    return {Attempt::gone, "it has left the bus at " + store_.where()};
  } catch (const StoreError& error) {
    if (error.is_passing()) return {Attempt::busy};
    if (error.kind() == Kind::too_long)
      throw ProtocolError("a message of " + std::to_string(message.payload.size()) + " bytes to '" +
                          message.to + "' is longer than the tables of the bus at " + store_.where() +
                          " can hold (" + error.what() +
                          "); those that IPC::Manager makes on MariaDB hold 65535");
    if (!error.bus_is_gone() && !error.is_cut()) throw;
    calls_.bus_is_gone(error);
    // The message waits for a new connection. If it is in the table already, it arrives a second time.
    return {error.is_cut() ? Attempt::busy : Attempt::gone, error.what()};
  }
}

bool Outbox::insert(const Outgoing& message, const std::string& to) {
  const MessageRow row{message.id, request_.name, to, message.stamp, message.broadcast, message.payload};
  const auto late = [this, id = message.id](const Result& result) {
    if (late_.id == id) late_.stored = !result.failure && result.affected > 0;
  };
  late_ = {message.id};
  try {
    return insert_message(store_, row, late);
  } catch (const StoreError& error) {
    if (error.kind() != Kind::conflict) throw;
    // The answer was lost with the connection: the message is in the table.
    if (has_message(store_, message.id)) return true;
    if (registration_.exists()) throw;
    // Tables of the reference need a row for each sender, and a transient client has none.
    registration_.let_exist();
    return insert_message(store_, row, late);
  }
}

bool Outbox::was_stored(const Outgoing& message) {
  if (late_.id != message.id) return false;
  store_.finish_late();
  return late_.stored;
}

std::string Outbox::why_full(const std::string& id, std::size_t size) {
  // Counts only now and then, since that costs a statement: half of the remaining room can be used without.
  if (const auto known = room_.find(id);
      known != room_.end() && known->second.messages > 0 && known->second.bytes >= size) {
    --known->second.messages;
    known->second.bytes -= size;
    return {};
  }
  const auto rows = store_.query(
      R"(SELECT COUNT(*), COALESCE(SUM(size), 0) FROM (SELECT LENGTH(content) AS size FROM ipcm_messages )"
      R"(WHERE "to" = :to LIMIT :most) AS waiting)",
      {id, kMostMessages}, {Column::integer, Column::integer});
  const std::int64_t messages = integer_of(rows.at(0).at(0)).value_or(0);
  const std::int64_t bytes = integer_of(rows.at(0).at(1)).value_or(0);
  // The first message always fits, whatever its size.
  if (messages >= kMostMessages || (messages > 0 && bytes + static_cast<std::int64_t>(size) > kMostBytes)) {
    room_.erase(id);
    return "it does not read: " + std::to_string(messages) + " messages, " + std::to_string(bytes) +
           " bytes, or more wait for it already";
  }
  room_[id] = {static_cast<std::size_t>((kMostMessages - messages) / 2),
               static_cast<std::size_t>(std::max<std::int64_t>(kMostBytes - bytes, 0) / 2)};
  return {};
}

std::size_t Outbox::queued_bytes(const std::string& peer) const {
  std::size_t bytes = 0;
  for (const Outgoing& one : queue_)
    if (one.to == peer) bytes += one.payload.size();
  return bytes;
}

void Outbox::abandon(const std::string& peer) {
  std::erase_if(queue_, [&](const Outgoing& one) { return one.to == peer; });
}

void Outbox::flush() {
  while (!queue_.empty()) {
    Tried tried{Attempt::full};
    try {
      tried = try_send(queue_.front());
    } catch (const ProtocolError& error) {
      tried.why = error.what();
    }
    if (tried.how == Attempt::busy) {
      calls_.try_again_later();
      return;
    }
    const std::string to = queue_.front().to;
    queue_.pop_front();
    if (tried.how == Attempt::gone) receiver_.undelivered(to, 1, tried.why);
    if (tried.how == Attempt::full)
      receiver_.dropped("a message to '" + to + "' was not delivered: " + tried.why);
  }
}

}  // namespace ipcm::database
