#include "transport/json_file/json_file.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/file_lock.h"
#include "os/process.h"
#include "transport/json_file/protocol.h"
#include "transport/presence/disk_name.h"
#include "transport/presence/statistics_file.h"

namespace ipcm::transport {
namespace {

/// The time that leaving may take at least, and the limit for leaving without a call of leave().
constexpr auto kSilentTime = std::chrono::seconds(1);
/// The loop does not wait for the lock, and the kernel does not report its release. So the loop tries again
/// after this time, then at growing intervals.
constexpr std::chrono::milliseconds kFirstRetry{1}, kLongestRetry{50};
/// The time that sending waits for the lock, before the message waits in the queue.
constexpr std::chrono::milliseconds kSending{100};

}  // namespace

JsonFile::JsonFile(const JoinRequest& request, Loop& loop, Receiver& receiver, Duration patience)
    : request_(request),
      loop_(loop),
      receiver_(receiver),
      patience_(patience),
      store_(request.info.route),
      taking_in_(
          loop,
          [this](const std::string& why) { receiver_.dropped("the bus can't be read for now: " + why); },
          [this] { take_in_for_loop(); }),
      mailbox_(request.name, receiver),
      presence_(store_.sidecar(), loop, receiver),
      outbox_(presence_, request_.info.route, receiver) {
  if (request.anonymous) return;
  HeldLock::Attempt attempt;
  auto lock = store_.sidecar().take(request_.name, request_.note(), attempt);
  if (!lock) throw NameTaken(request_.name, attempt.holder, request_.info.route);
  lock_ = std::move(*lock);
  try {
    watch_file();  // before the member is listed, so that no first message is missed
    change([&](JsonDocument& document) {
      claim(document, attempt);
      return true;
    });
  } catch (...) {
    store_.sidecar().release(lock_);
    throw;
  }
  joined_ = true;
}

void JsonFile::claim(JsonDocument& document, const HeldLock::Attempt& attempt) {
  const auto found = document.clients.find(request_.name);
  if (found != document.clients.end()) {
    const JsonClient before = JsonClient::parse(found->second);
    const auto began = os::start_time(os::own_pid());
    // A program that became another one by exec gets the messages that it put back for that.
    const bool was_us =
        before.pid == os::own_pid() && began && before.since && std::abs(*began - *before.since) < 0.02;
    const bool expired = before.has_expired(os::wall_clock_seconds());
    const bool leftover = !before.is_away() && Sidecar::is_leftover(*before.pid, attempt);
    if (!leftover && !expired && !before.is_away())
      throw NameTaken(request_.name, *before.pid, request_.info.route);
    if (!leftover && !expired && !request_.reconnect)
      throw NameTaken("the name '" + request_.name +
                      "' is that of a suspended peer; take it up with ipcm_reconnect");
    if (!was_us && (expired || !request_.reconnect)) {
      document.messages.erase(request_.name);
      document.stats.erase(request_.name);
    }
  }
  if (const auto stats = document.stats.find(request_.name); stats != document.stats.end())
    past_ = read_statistics(stats->second);
  document.clients[request_.name] =
      JsonClient{os::own_pid(), std::nullopt, os::start_time(os::own_pid())}.text();
  document.messages.try_emplace(request_.name, "[]");
}

JsonFile::~JsonFile() {
  if (!joined_ || !lock_) return;
  try {
    (void)store_.change(
        [&](JsonDocument& document) {
          if (joined_) forget_place(document);
          return true;
        },
        os::Deadline::after(kSilentTime));
  } catch (const Error&) {
    // The destructor reports nothing; other processes find the member dead.
  }
  store_.sidecar().release(lock_);
}

void JsonFile::forget_place(JsonDocument& document) const {
  document.clients.erase(request_.name);
  mailbox_.empty(document);
}

// ---- the document

bool JsonFile::read_if_there(const std::function<void(const JsonDocument&)>& look) {
  return was_done(store_.read(look, limit()));
}

bool JsonFile::change_if_there(const std::function<bool(JsonDocument&)>& change) {
  return was_done(store_.change(change, limit()));
}

bool JsonFile::was_done(JsonStore::Result result) const {
  if (result == JsonStore::Result::busy) {
    if (os::TimeLimit::current().has_passed()) throw Timeout(who_locks());
    throw BusError(who_locks());
  }
  return result == JsonStore::Result::done;
}

void JsonFile::read(const std::function<void(const JsonDocument&)>& look) {
  if (!read_if_there(look)) fail_gone();
}

void JsonFile::change(const std::function<bool(JsonDocument&)>& change) {
  if (!change_if_there(change)) fail_gone();
}

void JsonFile::fail_gone() const {
  throw BusError("the bus at '" + request_.info.route + "' was taken down");
}

std::string JsonFile::who_locks() const {
  const std::string bus = "the bus at '" + request_.info.route + "' is locked by ";
  // A lock may outlive the process that took it, in a child that inherited the open file.
  const auto holder = os::file_lock_holder(request_.info.route);
  if (holder && os::is_running(*holder))
    return bus + "process " + std::to_string(*holder) +
           ", which does not release it: resume or end that process";
  return bus + "a process that does not release it; /proc/locks names it";
}

void JsonFile::watch_file() {
  if (file_watch_) return;
  file_watch_ = std::make_unique<os::FileWatch>(request_.info.route);
  changing_ = loop_.watch(file_watch_->fd(), EPOLLIN, [this](std::uint32_t) { on_change(); });
}

void JsonFile::on_change() {
  if (file_watch_->read()) stale_ = true;
  if (receiving_ || presence_.watches()) take_in_for_loop();
}

void JsonFile::take_in_for_loop() {
  const bool done = taking_in_.attempt([this] { take_in(Hurry::no_wait); });
  if (!done) stale_ = true;
}

bool JsonFile::has_bus() { return os::look_at(request_.info.route).kind == os::FileKind::regular; }

void JsonFile::note_own_place() {
  if (!joined_ || own_place_) return;
  const Sidecar& sidecar = store_.sidecar();
  const std::filesystem::path path = request_.info.route;
  place_of_file_.emplace(path.parent_path().string());
  const auto lost = [this](const std::string& why) { receiver_.bus_ended(why); };
  own_file_.emplace(loop_, *place_of_file_, std::vector<std::string>{path.filename().string()}, lost);
  own_place_.emplace(loop_, sidecar.directory(), std::vector<std::string>{sidecar.lock_of(request_.name)},
                     lost);
}

void JsonFile::look_at_own_place() {
  if (!own_place_) return;
  own_file_->look();
  own_place_->look();
}

void JsonFile::watch_own_place() {
  if (!own_place_) return;
  own_file_->watch();
  own_place_->watch();
}

void JsonFile::lose_place(const std::string& why) {
  if (own_place_)
    receiver_.bus_ended("its place on the bus at '" + request_.info.route + "' is gone: " + why);
}

void JsonFile::look_later(std::chrono::milliseconds after) {
  later_ = loop_.at(os::Clock::now() + after, [this] { take_in(Hurry::no_wait); });
}

void JsonFile::take_in(Hurry hurry) {
  if (file_watch_ && file_watch_->read()) stale_ = true;
  if (!stale_) return;
  stale_ = false;
  bool is_listed = true;
  const auto deadline = hurry == Hurry::wait ? limit() : os::Deadline::passed();
  const auto look = [&](const JsonDocument& document) {
    presence_.note(document, JsonPresence::Tell::receiver);
    is_listed = !joined_ || document.clients.contains(request_.name);
    if (!receiving_ && hurry == Hurry::no_wait)
      stale_ = true;  // receive(true) looks again
    else if (joined_)
      mailbox_.hand_out(document);
  };
  try {
    switch (store_.read(look, deadline)) {
      case JsonStore::Result::done:
        if (!is_listed) lose_place("the file has no place of that name any more");
        retry_in_ = kFirstRetry;
        acknowledge(mailbox_.take_broken());
        return;
      case JsonStore::Result::gone:
        if (joined_) lose_place("the file was removed");
        if (presence_.watches()) receiver_.peers_changed();
        return;
      case JsonStore::Result::busy:
        stale_ = true;
        look_later(std::exchange(retry_in_, std::min(retry_in_ * 2, kLongestRetry)));
        return;
    }
  } catch (const ProtocolError& error) {
    // An incomplete text in the same file can still be repaired; another file never becomes the bus.
    if (joined_ && store_.was_replaced())
      lose_place(std::string("another file stands there, which can't be read: ") + error.what());
    else
      receiver_.dropped(std::string("the bus can't be read: ") + error.what());
  }
}

// ---- messages

Transport::SendResult JsonFile::send(const Message& message) {
  std::string text = JsonOutbox::prepare(message);
  const auto patience = [this] { return os::limited(std::min<Duration>(patience_, kSending)); };
  // A sender that does not run the loop would fill the queue, although the file has been free since.
  if (!outbox_.empty())
    write_waiting(outbox_.has_room(message.to, text.size()) ? os::Deadline::passed() : patience());
  if (outbox_.empty()) {
    SendResult result = Sent::gone;
    const auto put = [&](JsonDocument& document) {
      result = outbox_.put(document, message.to, text);
      return result.sent == Sent::done;
    };
    switch (store_.change(put, patience())) {
      case JsonStore::Result::done:
        return result;
      case JsonStore::Result::gone:
        return {Sent::gone, "the bus was taken down"};
      case JsonStore::Result::busy:
        break;
    }
  }
  SendResult result = outbox_.queue(message.to, std::move(text));
  if (result.sent == Sent::queued) try_again_later();
  return result;
}

void JsonFile::try_again_later() {
  if (writing_) return;
  writing_ = loop_.at(os::Clock::now() + retry_in_, [this] {
    writing_ = Watch();
    write_waiting(os::Deadline::passed());
  });
  retry_in_ = std::min(retry_in_ * 2, kLongestRetry);
}

void JsonFile::write_waiting(os::Deadline deadline) {
  if (outbox_.empty() && acknowledged_.empty()) return;
  try {
    const auto result = store_.change(
        [&](JsonDocument& document) {
          const bool removed = !acknowledged_.empty() && mailbox_.remove(document, acknowledged_);
          return outbox_.flush(document) || removed;
        },
        deadline);
    if (result == JsonStore::Result::busy) {
      try_again_later();
      return;
    }
    if (result == JsonStore::Result::gone) {
      outbox_.give_up("the bus was taken down");
    }
  } catch (const ProtocolError& error) {
    outbox_.give_up(std::string("the bus can't be read: ") + error.what());
  }
  retry_in_ = kFirstRetry;
  mailbox_.forget(std::exchange(acknowledged_, {}));
  outbox_.finish_flush();
}

void JsonFile::drain() {
  for (Message& message : std::exchange(kept_, {})) receiver_.received(std::move(message));
  if (joined_) write_waiting(os::Deadline::passed());
  take_in(Hurry::wait);
}

void JsonFile::receive(bool on) {
  if (receiving_ == on) return;
  receiving_ = on;
  if (on && stale_) look_later(std::chrono::milliseconds(0));
}

void JsonFile::requeue(const std::vector<Message>& messages) {
  if (messages.empty()) return;
  if (!joined_) {
    kept_.insert(kept_.end(), messages.begin(), messages.end());
    return;
  }
  change([&](JsonDocument& document) {
    mailbox_.put_back(document, messages);
    return true;
  });
  mailbox_.note_put_back(messages);
  stale_ = true;
}

void JsonFile::acknowledge(const std::vector<std::string>& ids) {
  if (!joined_) return;
  const auto done = mailbox_.finished(ids);
  if (done.empty()) return;
  for (const auto& [key, count] : done) acknowledged_[key] += count;
  write_waiting(os::Deadline::passed());
}

// ---- peers

std::vector<std::string> JsonFile::peers() {
  JsonPresence::Listed listed;
  const std::string us = joined_ ? request_.name : std::string();
  (void)read_if_there([&](const JsonDocument& document) { listed = presence_.list(document, us); });
  // If another process keeps the document locked now, the leftovers stay for another time.
  if (!listed.dead.empty())
    (void)store_.change([&](JsonDocument& document) { return presence_.clear(document, listed.dead); },
                        limit());
  return listed.names;
}

Transport::Identified JsonFile::identify(const std::string& peer) {
  Identified found;
  (void)read_if_there(
      [&](const JsonDocument& document) { found.facts = presence_.judge(document, peer, &found.process); });
  return found;
}

void JsonFile::watch_peers() {
  if (presence_.watches()) return;
  watch_file();
  presence_.watch();
  (void)store_.read(
      [&](const JsonDocument& document) { presence_.note(document, JsonPresence::Tell::nobody); }, limit());
}

std::map<std::string, Statistics> JsonFile::all_statistics() {
  std::map<std::string, Statistics> all;
  read([&](const JsonDocument& document) {
    for (const auto& [name, raw] : document.stats) all[name] = read_statistics(raw);
  });
  return all;
}

// ---- leaving

void JsonFile::leave(const Statistics& statistics) {
  const bool counted = !statistics.sent.empty() || !statistics.read.empty();
  if (!joined_ && !(request_.anonymous && counted)) return;
  changing_.stop();
  later_.stop();
  own_place_.reset();
  writing_.stop();
  try {
    const auto result = store_.change(
        [&](JsonDocument& document) {
          if (!acknowledged_.empty()) (void)mailbox_.remove(document, acknowledged_);
          if (joined_)
            mailbox_.hand_out(
                document);  // what has come up to now; who sends from now on is told that we are gone
          if (counted) document.stats[request_.name] = write_statistics(statistics);
          if (joined_) forget_place(document);
          return true;
        },
        os::limited(patience_, kSilentTime));
    if (result == JsonStore::Result::busy) throw BusError(who_locks());
  } catch (const Error& error) {
    receiver_.dropped(std::string("the bus was left, and could not be told so: ") + error.what());
  }
  joined_ = false;
  store_.sidecar().release(lock_);
  file_watch_.reset();
}

void JsonFile::suspend(const Statistics& statistics, std::optional<double> expires) {
  if (!joined_) throw UsageError("'" + request_.name + "' can't suspend: it has no place on the bus");
  change([&](JsonDocument& document) {
    document.stats[request_.name] = write_statistics(statistics);
    document.clients[request_.name] = JsonClient{std::nullopt, expires, std::nullopt}.text();
    return true;
  });
  changing_.stop();
  later_.stop();
  own_place_.reset();
  writing_.stop();
  joined_ = false;
  store_.sidecar().release(lock_);
  file_watch_.reset();
}

namespace {

class JsonFileProtocol final : public FileProtocol {
 public:
  [[nodiscard]] const char* name() const override { return "JSONFile"; }
  [[nodiscard]] const char* summary() const override {
    return "one JSON file, rewritten for each message; slow, easily looked into";
  }
  [[nodiscard]] std::string why_not_viable() const noexcept override { return why_no_short_paths(); }
  [[nodiscard]] bool keeps_messages() const override { return true; }
  [[nodiscard]] std::unique_ptr<Transport> join(const JoinRequest& request, Loop& loop,
                                                Receiver& receiver) const override {
    expect_bus(request.info.route);
    return std::make_unique<JsonFile>(request, loop, receiver);
  }

 private:
  [[nodiscard]] const char* suffix() const override { return ".json"; }
  void prepare(const std::string& route) const override { JsonStore::prepare(route); }
  [[nodiscard]] bool is_bus_without_mark(const std::string& route) const override {
    return is_made_name(route.substr(route.rfind('/') + 1), "PerlIPCMgr-", suffix()) ||
           JsonStore::is_bus(route);
  }
  void empty_route(const std::string& route, std::string_view found) const override {
    if (found == "empty") JsonStore::empty(route);
  }
};

}  // namespace

const Protocol& json_file_protocol() {
  static const JsonFileProtocol protocol;
  return protocol;
}

}  // namespace ipcm::transport
