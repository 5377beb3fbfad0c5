#include "transport/database/database_transport.h"

#include <algorithm>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "transport/database/statement_timeout.h"
#include "transport/presence/statistics_file.h"

namespace ipcm::database {
namespace {

using transport::PeerFacts;
using Kind = Failure::Kind;

constexpr std::chrono::milliseconds kLongestRetry{50};
/// The interval in which a sentence is reported once.
constexpr std::chrono::seconds kQuietTime{60};
/// The time that a call waits for a cut connection.
constexpr std::chrono::milliseconds kConnectionTime{10'000}, kLeaveTime{1'000};

}  // namespace

DatabaseTransport::DatabaseTransport(const transport::JoinRequest& request, Loop& loop,
                                     transport::Receiver& receiver, std::unique_ptr<Store> store)
    : request_(request),
      loop_(loop),
      receiver_(receiver),
      store_(std::move(store)),
      registration_(*store_, request_),
      inbox_(*store_, request_, registration_.id(), receiver_),
      outbox_(*store_, registration_, peer_processes_, request_, receiver_,
              {.watch_rows = [this] { presence_.watch_rows(); },
               .try_again_later = [this] { try_again_later(); },
               .bus_is_gone = [this](const StoreError& error) { (void)note_break(error); }}),
      presence_(*store_, loop_, receiver_, peer_processes_, registration_.id(), [this] { on_news(); }),
      connection_(*store_, registration_, loop_,
                  {.is_back = [this] { come_back(); },
                   .has_ended = [this](const std::string& why) { note_end(why); },
                   .tell = [this](const std::string& sentence) { tell(sentence); },
                   .has_place = [this] { return joined_; }}) {
  const StatementTimeout timeout(*store_);
  // Fails now, not at the first message, if the tables are missing.
  (void)store_->row(registration_.id());
  if (request_.anonymous) return;
  store_->watch(loop_, registration_.id(), [this] { on_news(); });
  soon_ = loop_.at(os::Clock::now(), [this] { on_news(); });  // messages may wait already
  // Last: if a later step failed, the registration would stay, and a message could wait for it.
  past_ = registration_.claim();
  joined_ = true;
}

DatabaseTransport::~DatabaseTransport() {
  if (store_->is_ours()) leave({});
}

// ---- in the loop

void DatabaseTransport::on_news() {
  if (!store_->is_ours() || !connection_.is_up()) return;
  try {
    outbox_.flush();
    if (!connection_.is_up()) return;
    if (joined_ && inbox_.receives()) {
      inbox_.remove_finished();
      if (inbox_.take_in(false)) soon_ = loop_.at(os::Clock::now(), [this] { on_news(); });
    }
    presence_.look_again();
    if (!retry_) retry_in_ = std::chrono::milliseconds(1);
  } catch (const StoreError& error) {
    if (!cope_with(error)) tell(error.what());
  }
}

void DatabaseTransport::try_again_later() {
  if (retry_) return;
  retry_ = loop_.at(os::Clock::now() + retry_in_, [this] {
    retry_ = Watch();
    on_news();
  });
  retry_in_ = std::min(retry_in_ * 2, kLongestRetry);
}

void DatabaseTransport::note_end(const std::string& why) {
  outbox_.give_up(why);
  for (const std::string& peer : peer_processes_.close_all()) receiver_.link_lost(peer);
  receiver_.bus_ended(why);
  if (presence_.watches_all()) receiver_.peers_changed();
}

void DatabaseTransport::come_back() {
  presence_.look_at_all();
  soon_ = loop_.at(os::Clock::now(), [this] { on_news(); });
}

bool DatabaseTransport::note_break(const StoreError& error) {
  if (error.bus_is_gone())
    connection_.end(error.what());
  else if (error.is_cut())
    connection_.note_cut(error.what());
  else
    return false;
  return true;
}

bool DatabaseTransport::cope_with(const StoreError& error) {
  if (!error.is_passing()) return note_break(error);
  try_again_later();
  return true;
}

void DatabaseTransport::expect_connection() {
  if (!connection_.is_up()) connection_.await_up(kConnectionTime);
  if (!connection_.is_up()) throw StoreError(Kind::lost, connection_.why());
}

void DatabaseTransport::tell(const std::string& sentence) {
  const auto now = os::Clock::now();
  if (sentence == told_ && now - told_at_ < kQuietTime) {
    ++not_told_;
    return;
  }
  std::string words = sentence;
  if (const auto more = std::exchange(not_told_, 0); more > 0)
    words += " (what was told before this came " + std::to_string(more) + " times more)";
  told_ = sentence;
  told_at_ = now;
  receiver_.dropped(words);
}

// ---- messages

transport::Transport::SendResult DatabaseTransport::send(const Message& message) {
  auto out = outbox_.prepare(message);
  if (connection_.has_ended() || !store_->is_there()) {
    return {Sent::gone,
            connection_.has_ended() ? connection_.why() : "the bus at " + store_->where() + " is gone"};
  }
  if (!connection_.is_up()) return outbox_.queue(std::move(out));  // come_back() sends it
  return outbox_.send(std::move(out));
}

void DatabaseTransport::drain() {
  if (!store_->is_ours()) return;
  connection_.await_up(std::chrono::milliseconds(0));
  if (!connection_.is_up()) return;
  if (!keeps_put_back_)
    for (const Message& message : std::exchange(kept_, {})) receiver_.received(message);
  if (!joined_) return;
  try {
    const StatementTimeout timeout(*store_);
    inbox_.remove_finished();
    if (!keeps_put_back_) inbox_.offer_put_back();
    (void)inbox_.take_in(true);
  } catch (const StoreError& error) {
    if (!cope_with(error)) throw;
  }
}

void DatabaseTransport::note_own_place() {
  if (joined_)
    store_->note_own_place(loop_, request_.name, [this](const std::string& why) { connection_.end(why); });
}

void DatabaseTransport::look_at_own_place() {
  if (joined_) store_->look_at_own_place();
}

void DatabaseTransport::watch_own_place() {
  if (joined_) store_->watch_own_place();
}

void DatabaseTransport::receive(bool on) {
  inbox_.receive(on);
  if (on && joined_) soon_ = loop_.at(os::Clock::now(), [this] { on_news(); });
}

void DatabaseTransport::acknowledge(const std::vector<std::string>& ids) {
  if (!inbox_.note_finished(ids) || !joined_ || !connection_.is_up() || !store_->is_ours()) return;
  try {
    inbox_.remove_finished();
  } catch (const StoreError& error) {
    if (!cope_with(error)) throw;
  }
}

void DatabaseTransport::requeue(const std::vector<Message>& messages) {
  if (!joined_) {
    kept_.insert(kept_.end(), messages.begin(), messages.end());
    return;
  }
  expect_connection();
  const StatementTimeout timeout(*store_);
  within_limit([&] { inbox_.put_back(messages); });
}

// ---- peers

std::vector<std::string> DatabaseTransport::peers() {
  return within_limit([&] {
    expect_connection();
    std::vector<std::string> names;
    try {
      for (PeerRow& row : presence_.list())
        if (row.id != registration_.id() || !joined_) names.push_back(std::move(row.name));
    } catch (const StoreError& error) {
      // A member that watches the peers looks again when the database works again.
      presence_.look_at_all();
      (void)cope_with(error);
      throw;
    }
    return names;
  });
}

template <class Ask>
auto DatabaseTransport::ask_about_peer(Ask&& ask) {
  using Answer = decltype(ask());
  if (connection_.has_ended()) return Answer{};
  return within_limit([&] {
    if (!connection_.is_up()) connection_.await_up(std::chrono::milliseconds(0));  // one attempt
    if (!connection_.is_up()) throw StoreError(Kind::lost, connection_.why());
    try {
      return ask();
    } catch (const StoreError& error) {
      (void)cope_with(error);
      if (connection_.has_ended()) return Answer{};
      throw;
    }
  });
}

PeerFacts DatabaseTransport::look(const std::string& peer) {
  return ask_about_peer([&] { return presence_.look(peer); });
}

transport::Transport::Identified DatabaseTransport::identify(const std::string& peer) {
  return ask_about_peer([&] { return presence_.identify(peer); });
}

void DatabaseTransport::watch_peers() {
  if (!connection_.is_up()) expect_connection();
  presence_.watch_all();
}

std::map<std::string, Statistics> DatabaseTransport::all_statistics() {
  expect_connection();
  std::map<std::string, Statistics> all;
  const StatementTimeout timeout(*store_);
  const auto rows = within_limit([&] { return store_->rows(nullptr); });
  for (const PeerRow& row : rows) {
    if (!row.stats) continue;
    try {
      Statistics counted = transport::read_statistics(request_.serializer->read_value(*row.stats));
      if (!counted.sent.empty() || !counted.read.empty()) all[row.name] = std::move(counted);
    } catch (const ProtocolError&) {
      continue;  // not written by a peer
    }
  }
  return all;
}

// ---- leaving

void DatabaseTransport::leave_counts(const Statistics& statistics) {
  try {
    const LeavingTimeout timeout(*store_);
    registration_.leave_counts(statistics);
  } catch (const Error&) {
    // As in leave().
  }
}

void DatabaseTransport::leave_place(const Statistics& statistics) {
  const LeavingTimeout timeout(*store_);
  soon_.stop();
  std::int64_t unread = 0;
  registration_.leave(statistics, [&] {
    inbox_.remove_finished();
    unread = inbox_.empty();
  });
  if (unread > 0)
    receiver_.dropped(std::to_string(unread) + " more messages to '" + request_.name +
                      "' were not read when it left");
}

void DatabaseTransport::leave(const Statistics& statistics) {
  const bool counted = !statistics.sent.empty() || !statistics.read.empty();
  if (request_.anonymous && counted && connection_.is_up() && store_->is_ours() && store_->is_there())
    leave_counts(statistics);
  if (!joined_ || !store_->is_ours()) return;
  if (!connection_.is_up())
    connection_.await_up(kLeaveTime);  // a remaining row would look like a living member
  joined_ = false;
  try {
    if (connection_.is_up() && store_->is_there()) leave_place(statistics);
  } catch (const StoreError& error) {
    // The bus is being removed, or its server is gone: leaving goes on.
    (void)note_break(error);
  } catch (const Error&) {
  }
  if (connection_.is_up()) store_->drop_name();
  close();
}

void DatabaseTransport::suspend(const Statistics& statistics, std::optional<double> expires) {
  if (!joined_) throw UsageError("'" + request_.name + "' can't suspend: it has no place on the bus");
  expect_connection();
  {
    const StatementTimeout timeout(*store_);
    joined_ = false;
    soon_.stop();
    within_limit([&] { registration_.suspend(statistics, expires, [&] { inbox_.remove_finished(); }); });
  }
  close();
}

void DatabaseTransport::close() {
  soon_.stop();
  retry_.stop();
  connection_.stop();
  (void)peer_processes_.close_all();
  presence_.stop();
}

bool DatabaseTransport::is_orphaned() {
  // Only a working connection can prove it: an unreachable bus is not orphaned.
  try {
    if (!store_->is_there()) return true;
    if (!connection_.is_up()) return false;
    const transport::OwnerFacts owner = store_->owner();
    return owner.exists && !owner.held;
  } catch (const StoreError& error) {
    return error.bus_is_gone();
  }
}

}  // namespace ipcm::database
