// ServerStore: makes, recognises and removes the tables of a bus.
#include <utility>

#include "ipcm/error.h"
#include "os/random.h"
#include "transport/database/server.h"
#include "transport/database/server_ids.h"

namespace ipcm::database {
namespace {

constexpr std::chrono::seconds kMakeTime{10};

}  // namespace

bool ServerStore::has_columns(const std::string& table, const std::string& columns) {
  try {
    (void)query("SELECT " + columns + " FROM " + table + " WHERE 1 = 0", {}, {});
    return true;
  } catch (const StoreError& error) {
    if (error.kind() == Failure::Kind::missing) return false;
    throw;
  }
}

bool ServerStore::has_table(const std::string& name) { return has_columns(name, "1"); }

bool ServerStore::has_tables_of_the_reference() {
  return has_columns("ipcm_peers", "id, pid, active, stats, suspend_expires") &&
         has_columns("ipcm_messages", R"(id, "to", "from", stamp, content, broadcast)");
}

void ServerStore::note_bus() {
  constexpr std::size_t kLetters = 22;
  const auto read = [&] {
    const auto found = query("SELECT note FROM ipcm_ours WHERE id = :id", {kBusId}, {Column::text});
    return found.empty() ? std::string() : text_of(found[0][0]);
  };
  bus_ = read();
  if (!bus_.empty()) return;
  try {
    execute("INSERT INTO ipcm_ours(id, name, note) VALUES (:id, '', :note)",
            {kBusId, os::random_name(kLetters)});
  } catch (const StoreError& error) {
    if (error.kind() != Failure::Kind::conflict) throw;  // another process was faster
  }
  bus_ = read();
}

void ServerStore::expect_not_running() {
  const auto refuse = [&](const std::string& by) {
    throw BusError("there is a bus at '" + route_ + "' already: " + by +
                   "; one database, or schema, is one bus. Join that one, or end it (ipcm bus rm) first");
  };
  if (!has_table("ipcm_peers")) return;
  if (!has_tables_of_the_reference())
    throw BusError("the database of '" + route_ + "' has a table ipcm_peers that is not that of a bus");
  if (!has_table("ipcm_ours")) execute(ours_statement());
  if (const transport::OwnerFacts now = owner(); now.held)
    refuse("its owner is " + (now.pid > 0 ? "process " + std::to_string(now.pid) : "on another machine"));
  for (const PeerRow& row : rows(nullptr, true))
    if (row.facts.state == transport::PeerFacts::State::active ||
        row.facts.state == transport::PeerFacts::State::present)
      refuse("the peer '" + row.name + "' is on it");
}

void ServerStore::while_nobody_makes_tables(const std::function<void()>& make) {
  const Value key = lock_key(kMakingId);
  if (!lock(key, kMakeTime))
    throw StoreError(Failure::Kind::busy,
                     "the tables of the bus at '" + route_ +
                         "' can't be made: another process makes them, and does not finish");
  try {
    make();
  } catch (const StoreError& error) {
    if (!error.is_cut()) unlock(key);
    throw;
  } catch (...) {
    unlock(key);
    throw;
  }
  unlock(key);
}

void ServerStore::make_tables() {
  while_nobody_makes_tables([&] {
    const bool were_there = has_table("ipcm_peers");
    if (were_there) expect_not_running();
    for (const std::string& statement : table_statements()) execute(statement);
    execute(ours_statement());
    add_notices();
    if (!were_there) execute("INSERT INTO ipcm_ours(id, name) VALUES (:id, '')", {kMadeId});
    note_bus();
  });
}

void ServerStore::expect_bus() {
  if (has_table("ipcm_ours")) {
    note_bus();
    return;
  }
  if (!has_tables_of_the_reference())
    throw BusError("there is no bus at '" + route_ +
                   "': the database has no tables of one; its owner may have taken it down");
  while_nobody_makes_tables([&] {
    execute(ours_statement());
    try {
      add_notices();
    } catch (const StoreError& error) {
      if (error.is_cut()) throw;
      // The tables belong to another user, who does not allow triggers: members poll.
    }
    note_bus();
  });
}

void ServerStore::remove_tables() {
  if (!has_table("ipcm_ours")) {
    if (has_tables_of_the_reference()) return;  // there is nothing of ours
    throw BusError("there is no bus at '" + route_ + "': the database has no tables of one");
  }
  const bool made = !query("SELECT 1 FROM ipcm_ours WHERE id = :id", {kMadeId}, {Column::integer}).empty();
  if (!made) remove_notices();
  if (made) {
    execute("DROP TABLE IF EXISTS ipcm_messages");
    execute("DROP TABLE IF EXISTS ipcm_peers");
    remove_notices();
  }
  execute("DROP TABLE IF EXISTS ipcm_ours");
}

}  // namespace ipcm::database
