#include "transport/database/database_transport.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/process.h"
#include "os/random.h"
#include "transport/directory/disk_name.h"
#include "transport/directory/statistics_file.h"
#include "wire/frame.h"

namespace ipcm::database {
namespace {

using ipcm::NameTaken;
using transport::PeerFacts;
using State = PeerFacts::State;
using Kind = Failure::Kind;

/// How long one statement may wait for somebody else's lock: where somebody waits for the answer; while
/// sending, where a message can wait in our queue instead; inside the loop, where there is always another
/// time.
constexpr std::chrono::milliseconds kPatient{10'000}, kSending{100}, kInLoop{0};
/// Rows that are read at once, and the size of their contents.
constexpr std::int64_t kSmallContent = 64L * 1024;
constexpr std::size_t kFewRows = 32;
constexpr std::size_t kRowsAtOnce = 200, kBytesAtOnce = 8UL * 1024 * 1024;
/// Waiting for one peer in our own queue, at most.
constexpr std::size_t kLargestQueue = wire::kLargestFrame;
constexpr std::chrono::milliseconds kLongestRetry{50};

std::string upper_case(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

bool is_uuid(const std::string& text) {
  constexpr std::string_view kForm = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  if (text.size() != kForm.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (kForm[i] == '-' ? c != '-' : !digit) return false;
  }
  return true;
}

bool same_peers(const std::vector<PeerRow>& a, const std::vector<PeerRow>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const PeerRow& x, const PeerRow& y) {
    return x.id == y.id && x.pid == y.pid && x.is_active == y.is_active && x.active == y.active &&
           x.expires == y.expires;
  });
}

/// Of a value that is a blob; nothing else is one.
std::string_view bytes_of(const Value& value) {
  const auto* blob = std::get_if<Blob>(&value);
  return blob != nullptr ? std::string_view(blob->bytes) : std::string_view();
}

bool is_there(State state) {
  return state == State::active || state == State::present || state == State::suspended;
}

}  // namespace

template <class Call>
auto DatabaseTransport::patiently(Call&& call) {
  store_->be_patient(kPatient);
  struct Back {
    Store& store;
    ~Back() { store.be_patient(kInLoop); }
  } back{*store_};
  return call();
}

DatabaseTransport::DatabaseTransport(const transport::JoinRequest& request, Loop& loop,
                                     transport::Receiver& receiver, std::unique_ptr<Store> store)
    : request_(request), loop_(loop), receiver_(receiver), store_(std::move(store)), processes_(loop, [this] {
        somebody_died_ = true;
        on_news();
      }) {
  transport::check_peer_name(request_.name);
  id_ = store_->id_of(request_.name);
  // What leads nowhere shows now, not with the first message.
  patiently([&] { return row_of(id_); });
  if (request_.anonymous) return;
  patiently([&] { claim(); });
  try {
    store_->watch(loop_, id_, [this] { on_news(); });
  } catch (...) {
    leave({});
    throw;
  }
  joined_ = sender_exists_ = true;
  soon_ = loop_.at(os::Clock::now(), [this] { on_news(); });  // what waits here already
}

DatabaseTransport::~DatabaseTransport() {
  if (store_->is_ours()) leave({});
}

std::optional<PeerRow> DatabaseTransport::row_of(const std::string& id) {
  auto rows = store_->rows(&id);
  return rows.empty() ? std::nullopt : std::optional<PeerRow>(std::move(rows.front()));
}

void DatabaseTransport::claim() {
  transport::HeldLock::Attempt attempt;
  PeerRow us;
  us.id = id_;
  us.name = request_.name;
  us.pid = os::own_pid();
  if (!store_->take_name(us, request_.class_name, attempt))
    throw NameTaken(request_.name, attempt.holder, store_->where());
  try {
    store_->in_transaction([&] {
      const auto row = row_of(id_);
      const double now = os::wall_clock_seconds();
      if (!row) {
        store_->execute("INSERT INTO ipcm_peers(id, pid, active) VALUES (:id, :pid, :active)",
                        {id_, std::int64_t{os::own_pid()}, now});
      } else {
        const bool own_number = row->pid == os::own_pid();
        const bool leftover = row->pid != 0 && ((attempt.left && row->pid == attempt.left_by) || own_number ||
                                                !os::is_running(row->pid));
        if (row->pid != 0 && !leftover) throw NameTaken(request_.name, row->pid, store_->where());
        const bool away = row->pid == 0 && row->is_active;
        const bool expired = away && row->expires && *row->expires < now;
        if (away && !expired && !request_.reconnect)
          throw NameTaken("the name '" + request_.name +
                          "' is that of a suspended peer; take it up with ipcm_reconnect");
        // A program that became another one by exec goes on with what it was sent; who takes the name of a
        // dead process does not get what that one was sent.
        constexpr double kTick = 0.02;
        const auto began = os::start_time(os::own_pid());
        const bool was_us = own_number && began && row->active >= *began - kTick;
        const bool wipe = expired || (leftover && !request_.reconnect && !was_us);
        if (wipe) store_->execute("DELETE FROM ipcm_messages WHERE \"to\" = :id", {id_});
        if (!wipe && row->stats) {
          try {
            past_ = transport::read_statistics(request_.serializer->read_value(*row->stats));
          } catch (const ProtocolError&) {
            // Nobody's counts are worth more than joining.
          }
        }
        store_->execute(
            "UPDATE ipcm_peers SET pid = :pid, active = :active, suspend_expires = NULL WHERE id = :id",
            {std::int64_t{os::own_pid()}, now, id_});
      }
      store_->introduce(us, request_.class_name);
    });
  } catch (...) {
    store_->drop_name();
    throw;
  }
}

// ---- sending

transport::Transport::Sent DatabaseTransport::send(const Message& message, std::string& why) {
  Outgoing out{message.id, message.to, request_.serializer->write_value(message.content.json()), 0,
               message.broadcast};
  if (out.payload.size() > wire::kLargestFrame)
    throw ProtocolError("a message of " + std::to_string(out.payload.size()) + " bytes to '" + message.to +
                        "' is larger than the limit of " + std::to_string(wire::kLargestFrame));
  if (std::string limit; !store_->can_hold(out.payload, limit))
    throw ProtocolError("a message of " + std::to_string(out.payload.size()) + " bytes to '" + message.to +
                        "' is larger than " + limit);
  // There is no column for stamp_ord: so stamps rise by the least that a double can.
  out.stamp = last_stamp_ =
      std::max(message.stamp, std::nextafter(last_stamp_, std::numeric_limits<double>::infinity()));
  if (!is_there_or_tells(why)) return Sent::gone;
  if (outbox_.empty()) {
    store_->be_patient(kSending);
    const Attempt attempt = try_send(out, why);
    store_->be_patient(kInLoop);
    switch (attempt) {
      case Attempt::done:
        return Sent::done;
      case Attempt::gone:
        return Sent::gone;
      case Attempt::full:
        return Sent::full;
      case Attempt::busy:
        break;
    }
  } else if (queued_bytes(message.to) + out.payload.size() > kLargestQueue) {
    why = "the database is locked by somebody else, and " + std::to_string(outbox_.size()) +
          " messages wait for that already";
    return Sent::full;
  }
  outbox_.push_back(std::move(out));
  try_again_later();
  return Sent::queued;
}

bool DatabaseTransport::is_there_or_tells(std::string& why) {
  if (!broken_ && store_->is_there()) return true;
  why = "the bus at " + store_->where() + " is gone";
  return false;
}

DatabaseTransport::Attempt DatabaseTransport::try_send(const Outgoing& message, std::string& why) {
  try {
    const std::string to = store_->id_of(message.to);
    // Whoever leaves changes its row, which the statement itself looks at; so that only a death needs a look
    // before, and not even that while its process is known to run.
    const bool known = is_known_alive(message.to);
    if (!known) {
      const auto row = row_of(to);
      const PeerFacts facts = row ? row->facts : PeerFacts{};
      if (!is_there(facts.state)) {
        why = facts.state == State::dead ? "its process is gone"
              : row                      ? "it has left the bus at " + store_->where()
                                         : "no such peer on the bus at " + store_->where();
        return Attempt::gone;
      }
      watch_rows();
      Link link{row->pid, {}};
      if (facts.state == State::active && facts.pid > 0)
        if (auto process = os::open_process(facts.pid)) link.process = std::move(*process);
      links_.insert_or_assign(message.to, std::move(link));
    }
    if (!has_room(to, message.payload.size(), why)) return Attempt::full;
    std::int64_t made = 0;
    try {
      insert(message.id, request_.name, to, message.stamp, message.broadcast, message.payload, made);
    } catch (const StoreError& error) {
      if (error.kind() != Kind::conflict || sender_exists_) throw;
      // Tables that the reference made want a row for each sender, and we have none: we only visit.
      let_sender_exist();
      insert(message.id, request_.name, to, message.stamp, message.broadcast, message.payload, made);
    }
    if (made > 0) {
      store_->sent();
      return Attempt::done;
    }
    links_.erase(message.to);
    if (known) return try_send(message, why);  // which looks, and so can tell
    why = "it has left the bus at " + store_->where();
    return Attempt::gone;
  } catch (const StoreError& error) {
    if (error.kind() == Kind::busy) return Attempt::busy;
    if (error.kind() != Kind::missing && error.kind() != Kind::lost) throw;
    note_break(error.what());
    why = error.what();
    return Attempt::gone;
  }
}

bool DatabaseTransport::is_known_alive(const std::string& peer) const {
  const auto link = links_.find(peer);
  return link != links_.end() && link->second.process && !os::has_ended(link->second.process.get());
}

void DatabaseTransport::insert(const std::string& id, const std::string& from, const std::string& to,
                               double stamp, bool broadcast, const std::string& payload, std::int64_t& made) {
  // One statement, so that nobody can leave between our look and our message.
  const Dialect& sql = store_->dialect();
  static thread_local std::string text;
  text.assign(R"(INSERT INTO ipcm_messages(id, "to", "from", stamp, content, broadcast) SELECT )")
      .append(sql.id_parameter)
      .append(", p.id, :from, ")
      .append(sql.stamp_parameter)
      .append(", ")
      .append(sql.content_parameter)
      .append(", ")
      .append(sql.broadcast_parameter)
      .append(
          " FROM ipcm_peers p WHERE p.id = :to AND p.active IS NOT NULL AND (p.suspend_expires IS NULL OR "
          "p.suspend_expires >= :now)");
  Values values;
  values.reserve(7);
  values.emplace_back(sql.id_is_uuid && !is_uuid(id) ? os::make_uuid() : id);
  values.emplace_back(store_->id_of(from));
  values.emplace_back(stamp);
  values.emplace_back(std::in_place_type<Blob>, payload);
  values.emplace_back(std::int64_t{broadcast ? 1 : 0});
  values.emplace_back(to);
  values.emplace_back(os::wall_clock_seconds());
  made = store_->execute(text, values);
}

void DatabaseTransport::let_sender_exist() {
  store_->in_transaction([&] {
    if (!row_of(id_))
      store_->execute("INSERT INTO ipcm_peers(id, pid, active) VALUES (:id, NULL, NULL)", {id_});
  });
  sender_exists_ = true;
}

bool DatabaseTransport::has_room(const std::string& id, std::size_t size, std::string& why) {
  // Counting is worth a statement now and then only: half of the room that is left can be used without.
  if (const auto known = room_.find(id);
      known != room_.end() && known->second.messages > 0 && known->second.bytes >= size) {
    --known->second.messages;
    known->second.bytes -= size;
    return true;
  }
  const auto rows = store_->query(
      R"(SELECT COUNT(*), COALESCE(SUM(size), 0) FROM (SELECT LENGTH(content) AS size FROM ipcm_messages )"
      R"(WHERE "to" = :to LIMIT :most) AS waiting)",
      {id, kMostMessages}, {Column::integer, Column::integer});
  const std::int64_t messages = integer_of(rows.at(0).at(0)).value_or(0);
  const std::int64_t bytes = integer_of(rows.at(0).at(1)).value_or(0);
  // The first one always goes, whatever its size.
  if (messages >= kMostMessages || (messages > 0 && bytes + static_cast<std::int64_t>(size) > kMostBytes)) {
    room_.erase(id);
    why = "it does not read: " + std::to_string(messages) + " messages, " + std::to_string(bytes) +
          " bytes, or more wait for it already";
    return false;
  }
  room_[id] = {static_cast<std::size_t>((kMostMessages - messages) / 2),
               static_cast<std::size_t>(std::max<std::int64_t>(kMostBytes - bytes, 0) / 2)};
  return true;
}

std::size_t DatabaseTransport::queued_bytes(const std::string& peer) const {
  std::size_t bytes = 0;
  for (const Outgoing& one : outbox_)
    if (one.to == peer) bytes += one.payload.size();
  return bytes;
}

void DatabaseTransport::abandon(const std::string& peer) {
  std::erase_if(outbox_, [&](const Outgoing& one) { return one.to == peer; });
}

void DatabaseTransport::flush_outbox() {
  while (!outbox_.empty()) {
    std::string why;
    const Attempt attempt = try_send(outbox_.front(), why);
    if (attempt == Attempt::busy) {
      try_again_later();
      return;
    }
    const std::string to = outbox_.front().to;
    outbox_.pop_front();
    if (attempt != Attempt::done) receiver_.dropped("a message to '" + to + "' was not delivered: " + why);
  }
}

// ---- receiving

void DatabaseTransport::try_again_later() {
  if (retry_) return;
  retry_ = loop_.at(os::Clock::now() + retry_in_, [this] {
    retry_ = Watch();
    on_news();
  });
  retry_in_ = std::min(retry_in_ * 2, kLongestRetry);
}

void DatabaseTransport::on_news() {
  if (!store_->is_ours() || broken_) return;
  try {
    flush_outbox();
    if (joined_ && receiving_) {
      remove_finished();
      if (take_in(false)) soon_ = loop_.at(os::Clock::now(), [this] { on_news(); });
    }
    if (watches_rows_) look_at_peers();
    if (!retry_) retry_in_ = std::chrono::milliseconds(1);
  } catch (const StoreError& error) {
    if (error.kind() == Kind::busy)
      try_again_later();
    else if (error.kind() == Kind::missing || error.kind() == Kind::lost)
      note_break(error.what());
    else
      receiver_.dropped(error.what());
  }
}

/// The bus is gone: everybody on it, too.
void DatabaseTransport::note_break(const std::string& why) {
  if (std::exchange(broken_, true)) return;
  for (const auto& [peer, link] : std::exchange(links_, {})) receiver_.link_lost(peer);
  if (watches_all_) receiver_.peers_changed();
  if (joined_) receiver_.dropped(why);
}

void DatabaseTransport::drain() {
  if (!store_->is_ours() || broken_) return;
  if (!keeps_put_back_)
    for (const Message& message : std::exchange(kept_, {})) receiver_.received(message);
  if (!joined_) return;
  try {
    patiently([&] {
      remove_finished();
      if (!keeps_put_back_) put_back_.clear();
      return take_in(true);
    });
  } catch (const StoreError& error) {
    if (error.kind() == Kind::busy) {
      try_again_later();
      return;
    }
    if (error.kind() != Kind::missing && error.kind() != Kind::lost) throw;
    note_break(error.what());
  }
}

void DatabaseTransport::receive(bool on) {
  receiving_ = on;
  if (on && joined_) soon_ = loop_.at(os::Clock::now(), [this] { on_news(); });
}

bool DatabaseTransport::take_in(bool everything) {
  const Dialect& sql = store_->dialect();
  std::set<std::string> had = put_back_;
  had.insert(finished_.begin(), finished_.end());
  for (const auto& [id, stored] : delivered_) had.insert(stored);
  bool some = false;
  const bool was_receiving = receiving_;
  for (;;) {
    // Small contents come along, unless that would bring many again that we have handed on already.
    const bool along = had.size() < kFewRows;
    const std::size_t limit = had.size() + kRowsAtOnce;
    const auto listed = store_->query(
        std::string("SELECT ") + sql.id_as_text + R"(, "from", stamp, )" +
            (along ? "CASE WHEN LENGTH(content) <= :small THEN content ELSE NULL END, " : "NULL, ") +
            sql.broadcast_as_int + ", LENGTH(content), " + sql.content_of_odd_id +
            R"( FROM ipcm_messages WHERE "to" = :to ORDER BY stamp LIMIT :most)",
        along ? Values{kSmallContent, id_, static_cast<std::int64_t>(limit)}
              : Values{id_, static_cast<std::int64_t>(limit)},
        {Column::text, Column::text, Column::real, Column::blob, Column::integer, Column::integer,
         Column::integer});
    // In order: what has not come along is fetched as soon as it is its turn.
    Values wanted;
    std::vector<std::string> unwanted;
    std::size_t bytes = 0;
    bool more = listed.size() == limit, odd = false, fresh = false;
    for (const Values& row : listed) {
      if (integer_of(row[6]).value_or(0) != 0) {
        odd = true;
        continue;
      }
      std::string id = text_of(row[0]);
      if (had.contains(id)) continue;
      const auto size = static_cast<std::size_t>(std::max<std::int64_t>(integer_of(row[5]).value_or(0), 0));
      if (size > wire::kLargestFrame) {
        receiver_.dropped("a message of " + std::to_string(size) + " bytes was dropped: the limit is " +
                          std::to_string(wire::kLargestFrame));
        unwanted.push_back(std::move(id));
        continue;
      }
      if (fresh && bytes + size > kBytesAtOnce) {
        more = true;
        break;
      }
      bytes += size;
      had.insert(id);
      fresh = some = true;
      if (std::holds_alternative<std::monostate>(row[3])) {
        wanted.emplace_back(std::move(id));
        continue;
      }
      take_rows(std::exchange(wanted, {}));
      take_row(row);
    }
    take_rows(wanted);
    if (odd) {
      const auto removed = store_->execute(
          std::string(R"(DELETE FROM ipcm_messages WHERE "to" = :to AND )") + sql.content_of_odd_id + " = 1",
          {id_});
      receiver_.dropped(std::to_string(removed) + " messages whose ids are no text were dropped");
    }
    remove_messages(unwanted);
    // Whoever reads may have had enough meanwhile.
    if (!everything || !more || (was_receiving && !receiving_)) {
      store_->took_in(some);
      return more;
    }
  }
}

void DatabaseTransport::take_rows(const Values& ids) {
  if (ids.empty()) return;
  const Dialect& sql = store_->dialect();
  const auto rows = store_->query(
      std::string("SELECT ") + sql.id_as_text + R"(, "from", stamp, content, )" + sql.broadcast_as_int +
          " FROM ipcm_messages WHERE id IN (" + placeholders(ids.size()) + ") ORDER BY stamp",
      ids, {Column::text, Column::text, Column::real, Column::blob, Column::integer});
  for (const Values& row : rows) take_row(row);
}

void DatabaseTransport::take_row(const Values& row) {
  const std::string stored = text_of(row[0]);
  Message message;
  message.id = upper_case(stored);
  message.to = request_.name;
  message.stamp = real_of(row[2]).value_or(os::wall_clock_seconds());
  message.broadcast = integer_of(row[4]).value_or(0) != 0;
  try {
    const std::string from = text_of(row[1]);
    if (from.empty() || from == "0") throw ProtocolError("it does not say who sent it");
    message.from = from;
    if (store_->id_of(from) != from || transport::DiskNames::is_hashed(from)) {
      // Stored under a hash.
      if (const auto sender = row_of(from)) message.from = sender->name;
    }
    // read_value() has checked it.
    message.content = Content::trusted_json(request_.serializer->read_value(bytes_of(row[3])));
    if (message.content.is_null()) throw ProtocolError("its content is null");
  } catch (const StoreError&) {
    throw;
  } catch (const Error& error) {
    receiver_.dropped("the message " + stored + " was dropped: " + error.what());
    remove_messages({stored});
    return;
  }
  delivered_.emplace(message.id, stored);
  receiver_.received(std::move(message));
}

void DatabaseTransport::remove_messages(const std::vector<std::string>& ids) {
  for (std::size_t at = 0; at < ids.size(); at += kRowsAtOnce) {
    Values some;
    for (std::size_t i = at; i < std::min(ids.size(), at + kRowsAtOnce); ++i) some.emplace_back(ids[i]);
    store_->execute("DELETE FROM ipcm_messages WHERE id IN (" + placeholders(some.size()) + ")", some);
  }
}

void DatabaseTransport::acknowledge(const std::vector<std::string>& ids) {
  for (const std::string& id : ids) {
    if (const auto void_one = forgone_.find(id); void_one != forgone_.end()) {
      if (--void_one->second == 0) forgone_.erase(void_one);
      continue;
    }
    if (auto done = delivered_.extract(id)) finished_.push_back(std::move(done.mapped()));
  }
  if (finished_.empty() || !joined_ || broken_ || !store_->is_ours()) return;
  try {
    remove_finished();
  } catch (const StoreError& error) {
    if (error.kind() != Kind::missing && error.kind() != Kind::lost && error.kind() != Kind::busy) throw;
    if (error.kind() == Kind::busy)
      try_again_later();
    else
      note_break(error.what());
  }
}

void DatabaseTransport::remove_finished() {
  remove_messages(finished_);
  finished_.clear();
}

void DatabaseTransport::requeue(const std::vector<Message>& messages) {
  if (!joined_) {
    kept_.insert(kept_.end(), messages.begin(), messages.end());
    return;
  }
  patiently([&] {
    for (const Message& message : messages) {
      std::string id = message.id;
      if (const auto had = delivered_.find(id); had != delivered_.end()) {
        id = had->second;  // its row is still there
        delivered_.erase(had);
        ++forgone_[message.id];
      } else {
        if (store_->dialect().id_is_uuid && !is_uuid(id)) id = os::make_uuid();
        std::int64_t made = 0;
        insert(id, message.from, id_, message.stamp, message.broadcast,
               request_.serializer->write_value(message.content.json()), made);
      }
      put_back_.insert(id);
    }
  });
}

// ---- peers

std::vector<std::string> DatabaseTransport::peers() {
  std::vector<std::string> names;
  if (broken_) return names;
  std::vector<PeerRow> rows;
  try {
    rows = patiently([&] { return store_->rows(nullptr); });
  } catch (const StoreError& error) {
    if (error.kind() != Kind::missing && error.kind() != Kind::lost) throw;
    note_break(error.what());
    return names;
  }
  for (const PeerRow& row : rows) {
    const State state = row.facts.state;
    if (state == State::dead) clear_dead(row);
    if (is_there(state) && (row.id != id_ || !joined_)) names.push_back(row.name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void DatabaseTransport::clear_dead(const PeerRow& row) {
  // Messages are never thrown away unseen: with some waiting, the row stays as it is, for a successor. Its
  // lock is not even touched: everybody would be told of that, look, and touch it again.
  try {
    if (!store_->query(R"(SELECT 1 FROM ipcm_messages WHERE "to" = :id LIMIT 1)", {row.id}, {Column::integer})
             .empty())
      return;
    store_->while_nobody_has(row, [&] {
      const auto changed = store_->execute(
          "UPDATE ipcm_peers SET pid = NULL, active = NULL, suspend_expires = NULL WHERE id = :id AND active "
          "= "
          ":active AND NOT EXISTS (SELECT 1 FROM ipcm_messages m WHERE m.\"to\" = ipcm_peers.id)",
          {row.id, row.active});
      return changed > 0;
    });
  } catch (const Error&) {
    // Somebody else will.
  }
}

PeerFacts DatabaseTransport::look(const std::string& peer) {
  if (broken_) return {};
  try {
    const auto row = patiently([&] { return row_of(store_->id_of(peer)); });
    return row ? row->facts : PeerFacts{};
  } catch (const StoreError& error) {
    if (error.kind() != Kind::missing && error.kind() != Kind::lost) throw;
    note_break(error.what());
    return {};
  }
}

void DatabaseTransport::watch_rows() {
  if (watches_rows_) return;
  store_->watch_peers(loop_, [this] { on_news(); });
  watches_rows_ = true;
}

void DatabaseTransport::watch_peers() {
  if (watches_all_ || broken_) return;
  watch_rows();
  store_->watch_deaths(loop_, [this] {
    somebody_died_ = true;
    on_news();
  });
  watches_all_ = somebody_died_ = true;
  on_news();
}

void DatabaseTransport::look_at_peers() {
  // Whoever lives is a matter of locks, which cost a look each: so only if a row has changed, or somebody
  // died.
  if (!somebody_died_) {
    const auto rows = store_->rows(nullptr, false);
    if (same_peers(rows, known_)) return;
  }
  auto rows = store_->rows(nullptr);
  somebody_died_ = false;
  std::map<std::string, Pid> there;
  std::vector<transport::ForeignWatch::Peer> unseen;
  for (const PeerRow& row : rows) {
    if (is_there(row.facts.state)) there.emplace(row.name, row.pid);
    if (row.facts.state == State::active && row.dies_unseen && row.facts.pid > 0 && row.id != id_)
      unseen.push_back({row.name, row.facts.pid});
  }
  known_ = std::move(rows);
  for (auto link = links_.begin(); link != links_.end();) {
    const auto now = there.find(link->first);
    if (now != there.end() && now->second == link->second.pid) {
      ++link;
      continue;
    }
    const std::string lost = link->first;
    link = links_.erase(link);
    receiver_.link_lost(lost);
  }
  if (!watches_all_) return;
  processes_.follow(unseen);
  receiver_.peers_changed();
}

std::map<std::string, Statistics> DatabaseTransport::all_statistics() {
  std::map<std::string, Statistics> all;
  for (const PeerRow& row : patiently([&] { return store_->rows(nullptr); })) {
    if (!row.stats) continue;
    try {
      Statistics counted = transport::read_statistics(request_.serializer->read_value(*row.stats));
      if (!counted.sent.empty() || !counted.read.empty()) all[row.name] = std::move(counted);
    } catch (const ProtocolError&) {
      continue;  // not a peer's
    }
  }
  return all;
}

// ---- leaving

void DatabaseTransport::go(const std::string& statement, const Values& given, const Statistics& statistics,
                           bool wipe) {
  joined_ = false;
  soon_.stop();
  std::int64_t unread = 0;
  store_->in_transaction([&] {
    remove_finished();
    if (wipe) {
      // What came while we left is handed over with the rest; what was put back is for a successor.
      take_in(true);
      Values keep = {id_};
      for (const std::string& id : put_back_) keep.emplace_back(id);
      const auto deleted = store_->execute(
          R"(DELETE FROM ipcm_messages WHERE "to" = :id)" +
              (put_back_.empty() ? std::string() : " AND id NOT IN (" + placeholders(put_back_.size()) + ")"),
          keep);
      unread = deleted - static_cast<std::int64_t>(delivered_.size());
      delivered_.clear();
    }
    Values values = given;
    // Also where nothing was counted: the reference reads the counts of every row, and takes none for broken.
    values.emplace_back(Blob{request_.serializer->write_value(transport::write_statistics(statistics))});
    values.emplace_back(id_);
    store_->execute(statement + store_->dialect().stats_parameter + " WHERE id = :id", values);
  });
  store_->drop_name();
  if (unread > 0)
    receiver_.dropped(std::to_string(unread) + " more messages to '" + request_.name +
                      "' were not read when it left");
}

void DatabaseTransport::leave_counts(const Statistics& statistics) {
  try {
    patiently([&] {
      let_sender_exist();
      store_->execute(std::string("UPDATE ipcm_peers SET stats = ") + store_->dialect().stats_parameter +
                          " WHERE id = :id",
                      {Blob{request_.serializer->write_value(transport::write_statistics(statistics))}, id_});
    });
  } catch (const Error&) {
    // As in leave().
  }
}

void DatabaseTransport::leave(const Statistics& statistics) {
  const bool counted = !statistics.sent.empty() || !statistics.read.empty();
  if (request_.anonymous && counted && !broken_ && store_->is_ours() && store_->is_there())
    leave_counts(statistics);
  if (!joined_ || !store_->is_ours()) return;
  joined_ = false;
  try {
    if (!broken_ && store_->is_there())
      patiently([&] {
        go("UPDATE ipcm_peers SET pid = NULL, active = NULL, suspend_expires = NULL, stats = ", {},
           statistics, true);
      });
  } catch (const Error&) {
    // The bus is being removed, or its server is gone: leaving matters more.
  }
  store_->drop_name();
  close();
}

void DatabaseTransport::suspend(const Statistics& statistics, std::optional<double> expires) {
  if (!joined_) throw UsageError("'" + request_.name + "' can't suspend: it has no place on the bus");
  patiently([&] {
    go("UPDATE ipcm_peers SET pid = NULL, suspend_expires = :expires, stats = ",
       {expires ? Value(*expires) : Value()}, statistics, false);
  });
  close();
}

void DatabaseTransport::close() {
  soon_.stop();
  retry_.stop();
  links_.clear();
  processes_.follow({});
}

bool DatabaseTransport::is_orphaned() {
  if (broken_) return true;
  try {
    if (!store_->is_there()) return true;
    const transport::OwnerFacts owner = store_->owner();
    return owner.exists && !owner.held;
  } catch (const StoreError& error) {
    return error.kind() == Kind::missing || error.kind() == Kind::lost;
  }
}

}  // namespace ipcm::database
