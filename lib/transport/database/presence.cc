#include "transport/database/presence.h"

#include <algorithm>
#include <map>
#include <utility>

#include "ipcm/error.h"
#include "transport/database/statement_timeout.h"

namespace ipcm::database {
namespace {

using transport::PeerFacts;
using State = PeerFacts::State;

bool same_peers(const std::vector<PeerRow>& a, const std::vector<PeerRow>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const PeerRow& x, const PeerRow& y) {
    return x.id == y.id && x.pid == y.pid && x.is_active == y.is_active && x.active == y.active &&
           x.expires == y.expires;
  });
}

}  // namespace

Presence::Presence(Store& store, Loop& loop, transport::Receiver& receiver, PeerProcesses& peer_processes,
                   const std::string& id, std::function<void()> news)
    : store_(store),
      loop_(loop),
      receiver_(receiver),
      peer_processes_(peer_processes),
      id_(id),
      news_(std::move(news)),
      processes_(loop, [this] { note_death(); }) {}

void Presence::note_death() {
  somebody_died_ = true;
  news_();
}

std::vector<PeerRow> Presence::list() {
  std::vector<PeerRow> rows = [&] {
    const StatementTimeout timeout(store_);
    return store_.rows(nullptr);
  }();
  for (const PeerRow& row : rows)
    if (row.facts.state == State::dead && row.facts.surely_dead) {
      receiver_.found_dead(row.name, row.facts);
      clear_dead(row);
    }
  std::erase_if(rows, [](const PeerRow& row) { return !is_there(row.facts.state); });
  std::sort(rows.begin(), rows.end(), [](const PeerRow& a, const PeerRow& b) { return a.name < b.name; });
  return rows;
}

void Presence::clear_dead(const PeerRow& row) {
  // Messages are never discarded unread: while some wait, the row stays for a successor. Its lock is not
  // touched either: each touch would notify all members, which would look, and touch it again.
  try {
    if (!store_.query(R"(SELECT 1 FROM ipcm_messages WHERE "to" = :id LIMIT 1)", {row.id}, {Column::integer})
             .empty())
      return;
    store_.while_nobody_has(row, [&] {
      const auto changed = store_.execute(
          "UPDATE ipcm_peers SET pid = NULL, active = NULL, suspend_expires = NULL WHERE id = :id AND active "
          "= "
          ":active AND NOT EXISTS (SELECT 1 FROM ipcm_messages m WHERE m.\"to\" = ipcm_peers.id)",
          {row.id, row.active});
      return changed > 0;
    });
  } catch (const Error&) {
    // Another member will remove it.
  }
}

PeerFacts Presence::look(const std::string& peer) {
  const StatementTimeout timeout(store_);
  const auto row = store_.row(store_.id_of(peer));
  return row ? row->facts : PeerFacts{};
}

transport::Transport::Identified Presence::identify(const std::string& peer) {
  const StatementTimeout timeout(store_);
  const auto row = store_.row(store_.id_of(peer));
  if (!row) return {};
  if (row->facts.state != State::active || row->facts.is_us) return {row->facts, {}};
  return {row->facts, store_.process_of(*row)};
}

void Presence::watch_rows() {
  if (watches_rows_) return;
  store_.watch_peers(loop_, [this] { news_(); });
  watches_rows_ = true;
}

void Presence::watch_all() {
  if (watches_all_) return;
  watch_rows();
  store_.watch_deaths(loop_, [this] { note_death(); });
  watches_all_ = somebody_died_ = true;
  news_();
}

void Presence::look_again() {
  if (!watches_rows_) return;
  // Presence is a matter of locks, and each costs a query: so look only if a row has changed, or a process
  // has died.
  if (!somebody_died_) {
    const auto rows = store_.rows(nullptr, false);
    if (same_peers(rows, known_)) return;
  }
  auto rows = store_.rows(nullptr);
  somebody_died_ = false;
  std::map<std::string, Pid> there;
  std::vector<transport::ProcessWatch::Peer> unseen;
  for (const PeerRow& row : rows) {
    if (is_there(row.facts.state)) there.emplace(row.name, row.pid);
    if (row.facts.state == State::active && row.dies_unseen && row.facts.pid > 0 && row.id != id_)
      unseen.push_back({row.name, row.facts.pid});
  }
  known_ = std::move(rows);
  for (const std::string& lost : peer_processes_.close_all_but(there)) receiver_.link_lost(lost);
  if (!watches_all_) return;
  processes_.follow(unseen);
  receiver_.peers_changed();
}

}  // namespace ipcm::database
