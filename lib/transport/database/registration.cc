#include "transport/database/registration.h"

#include <cmath>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/process.h"
#include "transport/presence/disk_name.h"
#include "transport/presence/statistics_file.h"

namespace ipcm::database {

Registration::Registration(Store& store, const transport::JoinRequest& request)
    : store_(store), request_(request) {
  transport::check_peer_name(request_.name);
  id_ = store_.id_of(request_.name);
}

Statistics Registration::claim() {
  transport::HeldLock::Attempt attempt;
  PeerRow us;
  us.id = id_;
  us.name = request_.name;
  us.pid = os::own_pid();
  if (!store_.take_name(us, request_.note(), attempt))
    throw NameTaken(request_.name, attempt.holder, store_.where());
  Statistics past;
  try {
    store_.in_transaction([&] {
      write_row(store_.row(id_), attempt, past);
      store_.introduce(us, request_.note());
    });
  } catch (...) {
    store_.drop_name();
    throw;
  }
  exists_ = true;
  return past;
}

void Registration::write_row(const std::optional<PeerRow>& row, const transport::HeldLock::Attempt& attempt,
                             Statistics& past) {
  const double now = since_ = os::wall_clock_seconds();
  if (!row) {
    store_.execute("INSERT INTO ipcm_peers(id, pid, active) VALUES (:id, :pid, :active)",
                   {id_, std::int64_t{os::own_pid()}, now});
  } else {
    const bool own_number = row->pid == os::own_pid();
    const bool leftover = row->pid != 0 && store_.is_leftover(row->pid, attempt);
    if (row->pid != 0 && !leftover) throw NameTaken(request_.name, row->pid, store_.where());
    const bool away = row->pid == 0 && row->is_active;
    const bool expired = away && row->expires && *row->expires < now;
    if (away && !expired && !request_.reconnect)
      throw NameTaken("the name '" + request_.name +
                      "' is that of a suspended peer; take it up with ipcm_reconnect");
    // A program that became another one by exec keeps its messages; a successor of a dead process does not
    // get the messages of that one.
    constexpr double kTick = 0.02;
    const auto began = os::start_time(os::own_pid());
    const bool was_us = own_number && began && row->active >= *began - kTick;
    const bool wipe = expired || (leftover && !request_.reconnect && !was_us);
    if (wipe) store_.execute("DELETE FROM ipcm_messages WHERE \"to\" = :id", {id_});
    if (!wipe && row->stats) {
      try {
        past = transport::read_statistics(request_.serializer->read_value(*row->stats));
      } catch (const ProtocolError&) {
        // Joining matters more than the counts.
      }
    }
    store_.execute(
        "UPDATE ipcm_peers SET pid = :pid, active = :active, suspend_expires = NULL WHERE id = :id",
        {std::int64_t{os::own_pid()}, now, id_});
  }
}

void Registration::expect_ours(const std::optional<PeerRow>& row) const {
  constexpr double kLeast = 1e-4;
  if (!row || (row->pid == 0 && !row->is_active)) return;  // the row of no peer
  if (row->pid == os::own_pid() && std::abs(row->active - since_) < kLeast) return;
  throw NameTaken(request_.name, row->pid, store_.where());
}

void Registration::take_again() {
  expect_ours(store_.row(id_));
  PeerRow us;
  us.id = id_;
  us.name = request_.name;
  us.pid = os::own_pid();
  if (transport::HeldLock::Attempt attempt;
      !store_.holds_name() && !store_.take_name(us, request_.note(), attempt)) {
    if (attempt.holder != 0 && attempt.holder != os::own_pid())
      throw NameTaken(request_.name, attempt.holder, store_.where());
    throw StoreError(Failure::Kind::busy,
                     "the name '" + request_.name + "' is locked still at " + store_.where());
  }
  try {
    store_.in_transaction([&] {
      const auto row = store_.row(id_);
      expect_ours(row);
      const Values values = {std::int64_t{us.pid}, since_, id_};
      if (row)
        store_.execute(
            "UPDATE ipcm_peers SET pid = :pid, active = :active, suspend_expires = NULL WHERE id = :id",
            values);
      else
        store_.execute("INSERT INTO ipcm_peers(pid, active, id) VALUES (:pid, :active, :id)", values);
      store_.introduce(us, request_.note());
    });
  } catch (const NameTaken&) {
    store_.drop_name();
    throw;
  }
}

void Registration::let_exist() {
  store_.in_transaction([&] {
    if (!store_.row(id_))
      store_.execute("INSERT INTO ipcm_peers(id, pid, active) VALUES (:id, NULL, NULL)", {id_});
  });
  exists_ = true;
}

Blob Registration::stored(const Statistics& statistics) const {
  return Blob{request_.serializer->write_value(transport::write_statistics(statistics))};
}

void Registration::leave_counts(const Statistics& statistics) {
  let_exist();
  store_.execute(
      std::string("UPDATE ipcm_peers SET stats = ") + store_.dialect().stats_parameter + " WHERE id = :id",
      {stored(statistics), id_});
}

void Registration::leave(const Statistics& statistics, const std::function<void()>& last) {
  give_up("pid = NULL, active = NULL, suspend_expires = NULL", {}, statistics, last);
}

void Registration::suspend(const Statistics& statistics, std::optional<double> expires,
                           const std::function<void()>& last) {
  give_up("pid = NULL, suspend_expires = :expires", {expires ? Value(*expires) : Value()}, statistics, last);
}

void Registration::give_up(const char* columns, Values values, const Statistics& statistics,
                           const std::function<void()>& last) {
  // Also if the counts are empty: the reference reads the counts of every row, and reports an empty field
  // as damaged.
  values.emplace_back(stored(statistics));
  values.emplace_back(id_);
  store_.in_transaction([&] {
    last();
    store_.execute(std::string("UPDATE ipcm_peers SET ") + columns +
                       ", stats = " + store_.dialect().stats_parameter + " WHERE id = :id",
                   values);
  });
  store_.drop_name();
}

}  // namespace ipcm::database
