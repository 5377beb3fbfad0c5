#include "transport/database/server.h"

#include <algorithm>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/process.h"
#include "os/random.h"
#include "transport/database/server_ids.h"
#include "transport/presence/disk_name.h"

namespace ipcm::database {
namespace {

using Kind = Failure::Kind;
using State = transport::PeerFacts::State;

/// The server notices the end of a connection a moment after the process has ended.
constexpr std::chrono::seconds kDyingTime{5};
/// The characters that columns of the reference can hold.
constexpr std::size_t kLongestName = 512;
/// The clock tick with which the kernel notes the start of a process.
constexpr double kTick = 0.02;

/// Asks the kernel about a process. Failing for want of descriptors proves nothing about the process: the
/// caller asks another time.
template <class Question>
auto ask_kernel(Question&& question) {
  try {
    return question();
  } catch (const SystemError& error) {
    throw StoreError(Kind::late, error.what());
  }
}

bool is_running(Pid pid) {
  return ask_kernel([&] { return os::is_running(pid); });
}

std::optional<double> start_time(Pid pid) {
  return ask_kernel([&] { return os::start_time(pid); });
}

/// Returns whether the process with that id runs, and ran at that time: an id that was given away since
/// names another process.
bool has_run_since(Pid pid, double when) {
  const auto began = start_time(pid);
  return began && *began <= when + kTick && is_running(pid);
}

/// Returns the start time of a process, as in the row of the owner.
std::string start_of(Pid pid) {
  constexpr double kHundredths = 100;
  const auto began = start_time(pid);
  return began ? std::to_string(static_cast<std::int64_t>(*began * kHundredths)) : std::string();
}

}  // namespace

ServerStore::ServerStore(Connect connect, std::string route)
    : Store(std::move(connect)), route_(std::move(route)), numbering_(os::process_numbering()) {}

std::string ServerStore::id_of(const std::string& name) const {
  const auto characters = std::count_if(
      name.begin(), name.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80; });
  const bool fits =
      static_cast<std::size_t>(characters) <= kLongestName && !transport::DiskNames::is_hashed(name);
  return fits ? name : transport::DiskNames(0).of(name);
}

void ServerStore::after_reopen() {
  const std::string before = bus_;
  try {
    const auto found = query("SELECT note FROM ipcm_ours WHERE id = :id", {kBusId}, {Column::text});
    if (!found.empty() && text_of(found[0][0]) == before) return;
  } catch (const StoreError& error) {
    if (error.kind() != Kind::missing) throw;
  }
  throw BusError("the bus at '" + route_ + "' was taken down while the connection to its server was cut");
}

std::vector<PeerRow> ServerStore::rows(const std::string* id, bool judged) {
  std::string text;
  if (judged) text = held_prefix();
  text += "SELECT p.id, p.pid, p.active, p.suspend_expires, p.stats, o.name";
  if (judged) text.append(", o.note, o.pid, o.host, ").append(held_expression()).append(", o.inspect");
  text += " FROM ipcm_peers p LEFT JOIN ipcm_ours o ON o.id = p.id";
  if (id != nullptr) text += " WHERE p.id = :id";
  std::vector<Column> columns = {Column::text, Column::integer, Column::real,
                                 Column::real, Column::blob,    Column::text};
  if (judged)
    columns.insert(columns.end(),
                   {Column::text, Column::integer, Column::text, Column::integer, Column::integer});
  std::vector<PeerRow> rows;
  for (const Values& values : query(text, id == nullptr ? Values{} : Values{*id}, columns)) {
    PeerRow row;
    row.id = text_of(values[0]);
    row.pid = pid_of(values[1]);
    row.is_active = real_of(values[2]).has_value();
    row.active = real_of(values[2]).value_or(0);
    row.expires = real_of(values[3]);
    if (!std::holds_alternative<std::monostate>(values[4])) row.stats = text_of(values[4]);
    row.name = text_of(values[5]);
    if (row.name.empty()) row.name = row.id;
    if (judged && row.pid == 0 && row.is_active) {
      row.facts.expires = row.expires;
      row.facts.state =
          row.expires && *row.expires < os::wall_clock_seconds() ? State::dead : State::suspended;
    } else if (judged && row.pid > 0) {
      // A row of ours under a name that a peer of the reference has taken since says nothing about that
      // peer.
      const bool ours = pid_of(values[7]) == row.pid;
      const bool here = !ours || text_of(values[8]) == numbering_;
      const bool held = ours && integer_of(values[9]).value_or(0) != 0;
      // The server may notice the end of a process later than this member.
      if (ours) {
        const bool runs = !here           ? held
                          : row.is_active ? has_run_since(row.pid, row.active)
                                          : is_running(row.pid);
        row.is_held = runs && held && here;
        row.facts.elsewhere = !here;
        (here ? row.facts.pid : row.facts.noted) = row.pid;
        row.facts.is_us = runs && here && row.pid == os::own_pid();
        row.facts.class_name = text_of(values[6]);
        row.facts.is_inspectable = integer_of(values[10]).value_or(0) != 0;
        row.facts.surely_dead = !runs;
        // A process that runs without its lock has lost its connection, and is reconnecting.
        row.facts.state = !runs ? State::dead : held ? State::active : State::present;
      } else {
        ask_kernel([&] { transport::Sidecar::judge_by_number(row.pid, row.facts); });
      }
      row.dies_unseen = true;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

os::UniqueFd ServerStore::process_of(const PeerRow& row) {
  if (!row.is_held) return {};
  auto process = ask_kernel([&] { return os::open_process(row.facts.pid); });
  if (!process) return {};
  // The server may notice an end later than this member. A process that started after its row was written
  // only has the same process id; one whose row is still held after the pidfd was opened is the writer of
  // the row.
  const auto began = start_time(row.facts.pid);
  if (!began || *began > row.active + kTick) return {};
  const auto now = this->row(row.id);
  return now && now->pid == row.pid && now->active == row.active && now->is_held &&
                 !os::has_ended(process->get())
             ? std::move(*process)
             : os::UniqueFd();
}

bool ServerStore::take_name(const PeerRow& who, const transport::PeerNote& /*note*/,
                            transport::HeldLock::Attempt& attempt) {
  const Value key = lock_key(who.id);
  const auto known = query(
      "SELECT o.pid, o.host, p.active FROM ipcm_ours o LEFT JOIN ipcm_peers p ON p.id = o.id AND p.pid = "
      "o.pid "
      "WHERE o.id = :id",
      {who.id}, {Column::integer, Column::text, Column::real});
  const Pid before = known.empty() ? 0 : pid_of(known[0][0]);
  const bool here = !known.empty() && text_of(known[0][1]) == numbering_;
  const bool other = here && before != os::own_pid();
  const auto since = known.empty() ? std::nullopt : real_of(known[0][2]);
  if (other && since && has_run_since(before, *since)) {
    // It has the lock, or is reconnecting.
    attempt.holder = before;
    return false;
  }
  const bool dying = other && !is_running(before);
  if (!lock(key, dying ? kDyingTime : std::chrono::seconds(0))) {
    attempt.holder = here ? before : 0;
    return false;
  }
  name_lock_ = key;
  attempt.left = before > 0;
  attempt.left_by = before;
  return true;
}

void ServerStore::introduce(const PeerRow& who, const transport::PeerNote& note) {
  execute("DELETE FROM ipcm_ours WHERE id = :id", {who.id});
  execute(
      "INSERT INTO ipcm_ours(id, name, note, pid, host, lock_key, inspect) VALUES (:id, :name, :note, :pid, "
      ":host, :key, :inspect)",
      {who.id, who.name, note.class_name, std::int64_t{who.pid}, numbering_, lock_key(who.id),
       std::int64_t{note.is_inspectable ? 1 : 0}});
}

void ServerStore::drop_name() noexcept {
  if (!name_lock_ || !is_ours()) return;
  try {
    unlock(*std::exchange(name_lock_, std::nullopt));
  } catch (const std::exception&) {
    // It ends with the connection.
  }
}

void ServerStore::while_nobody_has(const PeerRow& who, const std::function<bool()>& what) {
  const Value key = lock_key(who.id);
  if (!lock(key, std::chrono::seconds(0))) return;
  try {
    // Another member may have taken the name meanwhile.
    const auto now = rows(&who.id, true);
    if (!now.empty() && now.front().pid == who.pid && now.front().active == who.active) (void)what();
  } catch (...) {
    unlock(key);
    throw;
  }
  unlock(key);
}

transport::OwnerFacts ServerStore::owner() {
  const auto found = query(std::string(held_prefix()) + "SELECT o.pid, o.host, o.note, " + held_expression() +
                               " FROM ipcm_ours o WHERE o.id = :id",
                           {kOwnerId}, {Column::integer, Column::text, Column::text, Column::integer});
  if (found.empty()) return {};
  const Pid pid = pid_of(found[0][0]);
  const bool here = text_of(found[0][1]) == numbering_;
  const std::string began = text_of(found[0][2]);
  const bool held = integer_of(found[0][3]).value_or(0) != 0;
  // An owner that runs here without its lock has lost its connection, and still owns the bus.
  const bool runs = here && is_running(pid) && (held || (!began.empty() && began == start_of(pid)));
  return {true, here ? runs : held, here ? pid : 0};
}

void ServerStore::own() {
  constexpr std::size_t kLetters = 16;
  const Value key = lock_key(kOwnerId + os::random_name(kLetters));
  if (!lock(key, std::chrono::seconds(0))) throw BusError("the bus at " + where() + " can't be owned");
  in_transaction([&] {
    execute("DELETE FROM ipcm_ours WHERE id = :id", {kOwnerId});
    execute(
        "INSERT INTO ipcm_ours(id, name, note, pid, host, lock_key) VALUES (:id, '', :note, :pid, :host, "
        ":key)",
        {kOwnerId, start_of(os::own_pid()), std::int64_t{os::own_pid()}, numbering_, key});
  });
}

void ServerStore::disown() {
  // Only if the row is still ours.
  execute("DELETE FROM ipcm_ours WHERE id = :id AND pid = :pid AND host = :host",
          {kOwnerId, std::int64_t{os::own_pid()}, numbering_});
}

}  // namespace ipcm::database
