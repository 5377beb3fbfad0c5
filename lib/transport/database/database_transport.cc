#include "transport/database/database_transport.h"

#include <algorithm>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "transport/database/patience.h"
#include "transport/directory/statistics_file.h"

namespace ipcm::database {
namespace {

using transport::PeerFacts;
using Kind = Failure::Kind;

constexpr std::chrono::milliseconds kLongestRetry{50};

}  // namespace

DatabaseTransport::DatabaseTransport(const transport::JoinRequest& request, Loop& loop,
                                     transport::Receiver& receiver, std::unique_ptr<Store> store)
    : request_(request),
      loop_(loop),
      receiver_(receiver),
      store_(std::move(store)),
      place_(*store_, request_),
      inbox_(*store_, request_, place_.id(), receiver_),
      outbox_(*store_, place_, links_, request_, receiver_,
              {.watch_rows = [this] { presence_.watch_rows(); },
               .try_again_later = [this] { try_again_later(); },
               .bus_is_gone = [this](const std::string& why) { note_break(why); }}),
      presence_(*store_, loop_, receiver_, links_, place_.id(), [this] { on_news(); }) {
  const Patience patience(*store_);
  // What leads nowhere shows now, not with the first message.
  (void)store_->row(place_.id());
  if (request_.anonymous) return;
  store_->watch(loop_, place_.id(), [this] { on_news(); });
  soon_ = loop_.at(os::Clock::now(), [this] { on_news(); });  // what waits here already
  // Last of all: the place would stay, with a message that waits for it, if something failed after this.
  past_ = place_.claim();
  joined_ = true;
}

DatabaseTransport::~DatabaseTransport() {
  if (store_->is_ours()) leave({});
}

// ---- in the loop

void DatabaseTransport::on_news() {
  if (!store_->is_ours() || broken_) return;
  try {
    outbox_.flush();
    if (joined_ && inbox_.receives()) {
      inbox_.remove_finished();
      if (inbox_.take_in(false)) soon_ = loop_.at(os::Clock::now(), [this] { on_news(); });
    }
    presence_.look_again();
    if (!retry_) retry_in_ = std::chrono::milliseconds(1);
  } catch (const StoreError& error) {
    if (!cope_with(error)) receiver_.dropped(error.what());
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

/// The bus is gone: everybody on it, too.
void DatabaseTransport::note_break(const std::string& why) {
  if (std::exchange(broken_, true)) return;
  for (const std::string& peer : links_.close_all()) receiver_.link_lost(peer);
  if (presence_.watches_all()) receiver_.peers_changed();
  if (joined_) receiver_.dropped(why);
}

bool DatabaseTransport::cope_with(const StoreError& error) {
  if (error.kind() == Kind::busy)
    try_again_later();
  else if (error.bus_is_gone())
    note_break(error.what());
  else
    return false;
  return true;
}

// ---- messages

transport::Transport::Sent DatabaseTransport::send(const Message& message, std::string& why) {
  auto out = outbox_.prepare(message);
  if (broken_ || !store_->is_there()) {
    why = "the bus at " + store_->where() + " is gone";
    return Sent::gone;
  }
  return outbox_.send(std::move(out), why);
}

void DatabaseTransport::drain() {
  if (!store_->is_ours() || broken_) return;
  if (!keeps_put_back_)
    for (const Message& message : std::exchange(kept_, {})) receiver_.received(message);
  if (!joined_) return;
  try {
    const Patience patience(*store_);
    inbox_.remove_finished();
    if (!keeps_put_back_) inbox_.offer_put_back();
    (void)inbox_.take_in(true);
  } catch (const StoreError& error) {
    if (!cope_with(error)) throw;
  }
}

void DatabaseTransport::receive(bool on) {
  inbox_.receive(on);
  if (on && joined_) soon_ = loop_.at(os::Clock::now(), [this] { on_news(); });
}

void DatabaseTransport::acknowledge(const std::vector<std::string>& ids) {
  if (!inbox_.note_finished(ids) || !joined_ || broken_ || !store_->is_ours()) return;
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
  const Patience patience(*store_);
  inbox_.put_back(messages);
}

// ---- peers

std::vector<std::string> DatabaseTransport::peers() {
  std::vector<std::string> names;
  if (broken_) return names;
  try {
    for (PeerRow& row : presence_.list())
      if (row.id != place_.id() || !joined_) names.push_back(std::move(row.name));
  } catch (const StoreError& error) {
    if (!error.bus_is_gone()) throw;
    note_break(error.what());
  }
  return names;
}

PeerFacts DatabaseTransport::look(const std::string& peer) {
  if (broken_) return {};
  try {
    return presence_.look(peer);
  } catch (const StoreError& error) {
    if (!error.bus_is_gone()) throw;
    note_break(error.what());
    return {};
  }
}

transport::Transport::Identified DatabaseTransport::identify(const std::string& peer) {
  if (broken_) return {};
  try {
    return presence_.identify(peer);
  } catch (const StoreError& error) {
    if (!error.bus_is_gone()) throw;
    note_break(error.what());
    return {};
  }
}

void DatabaseTransport::watch_peers() {
  if (!broken_) presence_.watch_all();
}

std::map<std::string, Statistics> DatabaseTransport::all_statistics() {
  std::map<std::string, Statistics> all;
  const Patience patience(*store_);
  for (const PeerRow& row : store_->rows(nullptr)) {
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

void DatabaseTransport::leave_counts(const Statistics& statistics) {
  try {
    const Patience patience(*store_);
    place_.leave_counts(statistics);
  } catch (const Error&) {
    // As in leave().
  }
}

void DatabaseTransport::leave_place(const Statistics& statistics) {
  const Patience patience(*store_);
  soon_.stop();
  std::int64_t unread = 0;
  place_.leave(statistics, [&] {
    inbox_.remove_finished();
    unread = inbox_.empty();
  });
  if (unread > 0)
    receiver_.dropped(std::to_string(unread) + " more messages to '" + request_.name +
                      "' were not read when it left");
}

void DatabaseTransport::leave(const Statistics& statistics) {
  const bool counted = !statistics.sent.empty() || !statistics.read.empty();
  if (request_.anonymous && counted && !broken_ && store_->is_ours() && store_->is_there())
    leave_counts(statistics);
  if (!joined_ || !store_->is_ours()) return;
  joined_ = false;
  try {
    if (!broken_ && store_->is_there()) leave_place(statistics);
  } catch (const Error&) {
    // The bus is being removed, or its server is gone: leaving matters more.
  }
  store_->drop_name();
  close();
}

void DatabaseTransport::suspend(const Statistics& statistics, std::optional<double> expires) {
  if (!joined_) throw UsageError("'" + request_.name + "' can't suspend: it has no place on the bus");
  {
    const Patience patience(*store_);
    joined_ = false;
    soon_.stop();
    place_.suspend(statistics, expires, [&] { inbox_.remove_finished(); });
  }
  close();
}

void DatabaseTransport::close() {
  soon_.stop();
  retry_.stop();
  (void)links_.close_all();
  presence_.stop();
}

bool DatabaseTransport::is_orphaned() {
  if (broken_) return true;
  try {
    if (!store_->is_there()) return true;
    const transport::OwnerFacts owner = store_->owner();
    return owner.exists && !owner.held;
  } catch (const StoreError& error) {
    return error.bus_is_gone();
  }
}

}  // namespace ipcm::database
