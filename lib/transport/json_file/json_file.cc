#include "transport/json_file/json_file.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/process.h"
#include "transport/directory/statistics_file.h"
#include "transport/json_file/protocol.h"
#include "wire/envelope.h"
#include "wire/frame.h"

namespace ipcm::transport {
namespace {

/// Somebody who has the file locked longer than this has stopped.
constexpr auto kLockTime = std::chrono::seconds(30);
/// Leaving without a word does not wait as long.
constexpr auto kSilentTime = std::chrono::seconds(1);
/// Inside the loop nobody waits for the lock; it is tried again after this.
constexpr auto kRetry = std::chrono::milliseconds(2);
/// Unread by one receiver. Less than elsewhere: each message costs writing all that is there.
constexpr std::size_t kLargestMailbox = 16UL * 1024 * 1024;

}  // namespace

JsonFile::JsonFile(const JoinRequest& request, Loop& loop, Receiver& receiver)
    : request_(request), loop_(loop), receiver_(receiver), store_(request.info.route), foreign_(loop, [this] {
        receiver_.peers_changed();
      }) {
  if (request.anonymous) return;
  HeldLock::Attempt attempt;
  auto lock = store_.companion().take(request_.name, request_.class_name, attempt);
  if (!lock) throw NameTaken(request_.name, attempt.holder, request_.info.route);
  lock_ = std::move(*lock);
  try {
    // Before we are listed: no first message can be missed.
    file_watch_ = std::make_unique<os::FileWatch>(request_.info.route);
    changing_ = loop_.watch(file_watch_->fd(), EPOLLIN, [this](std::uint32_t) { on_change(); });
    const bool left = attempt.left;
    const Pid left_by = attempt.left_by;
    change([&](JsonDocument& document) {
      const auto found = document.clients.find(request_.name);
      if (found != document.clients.end()) {
        const JsonClient before = JsonClient::parse(found->second);
        const auto began = os::start_time(os::own_pid());
        // A program that became another one by exec gets what it had put back for that.
        const bool was_us =
            before.pid == os::own_pid() && began && before.since && std::abs(*began - *before.since) < 0.02;
        const bool expired = !before.pid && before.suspend_expires.value_or(1e300) < os::wall_clock_seconds();
        HeldLock::Attempt asked;
        asked.left = left;
        asked.left_by = left_by;
        const bool leftover = before.pid && Companion::is_leftover(*before.pid, asked);
        if (!leftover && !expired && before.pid)
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
      return true;
    });
  } catch (...) {
    store_.companion().release(lock_);
    throw;
  }
  joined_ = true;
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
    // Silent; whoever looks finds us dead.
  }
  store_.companion().release(lock_);
}

void JsonFile::forget_place(JsonDocument& document) const {
  document.clients.erase(request_.name);
  const auto mailbox = document.messages.find(request_.name);
  if (mailbox == document.messages.end()) return;
  std::vector<std::string_view> kept;
  for (const std::string_view element : elements_of(mailbox->second))
    if (put_back_.contains(key_of_message(element))) kept.push_back(element);
  if (kept.empty()) {
    document.messages.erase(mailbox);
    return;
  }
  std::string text = array_of(kept);
  mailbox->second = std::move(text);
}

void JsonFile::read(const std::function<void(const JsonDocument&)>& look) {
  switch (store_.read(look, os::Deadline::after(kLockTime))) {
    case JsonStore::Result::done:
      return;
    case JsonStore::Result::gone:
      throw BusError("the bus at '" + request_.info.route + "' was taken down");
    case JsonStore::Result::busy:
      fail_locked();
  }
}

void JsonFile::fail_locked() const {
  throw BusError("the bus at '" + request_.info.route + "' is locked by somebody who does not let it go");
}

void JsonFile::change(const std::function<bool(JsonDocument&)>& change) {
  switch (store_.change(change, os::Deadline::after(kLockTime))) {
    case JsonStore::Result::done:
      return;
    case JsonStore::Result::gone:
      throw BusError("the bus at '" + request_.info.route + "' was taken down");
    case JsonStore::Result::busy:
      fail_locked();
  }
}

PeerFacts JsonFile::judge(const JsonDocument& document, const std::string& peer) const {
  const auto found = document.clients.find(peer);
  if (found == document.clients.end()) return {};
  const JsonClient client = JsonClient::parse(found->second);
  return store_.companion().judge(peer, client.pid, client.suspend_expires);
}

Transport::Sent JsonFile::send(const Message& message, std::string& why) {
  const std::string text = wire::write_envelope(message);
  if (text.size() > wire::kLargestFrame)
    throw ProtocolError("a message of " + std::to_string(text.size()) + " bytes to '" + message.to +
                        "' is larger than the limit of " + std::to_string(wire::kLargestFrame));
  Sent sent = Sent::gone;
  const auto put = [&](JsonDocument& document) {
    const PeerFacts::State state = judge(document, message.to).state;
    if (state == PeerFacts::State::absent || state == PeerFacts::State::dead) {
      why = state == PeerFacts::State::dead ? "its process is gone"
                                            : "no such peer on the bus " + request_.info.route;
      return false;
    }
    std::string& mailbox = document.messages.try_emplace(message.to, "[]").first->second;
    constexpr std::size_t kEmpty = 4;
    if (mailbox.size() > kEmpty && mailbox.size() + text.size() > kLargestMailbox) {
      sent = Sent::full;
      why = "it does not read: " + std::to_string(mailbox.size()) + " bytes of messages wait for it already";
      return false;
    }
    append_element(mailbox, text);
    sent = Sent::done;
    return true;
  };
  switch (store_.change(put, os::Deadline::after(kLockTime))) {
    case JsonStore::Result::done:
      return sent;
    case JsonStore::Result::gone:
      why = "the bus was taken down";
      return Sent::gone;
    case JsonStore::Result::busy:
      why = "the file of the bus is locked by somebody who does not let it go";
      return Sent::full;
  }
  return sent;
}

void JsonFile::on_change() {
  if (file_watch_->read()) stale_ = true;
  if (receiving_ || watches_peers_) take_in(Hurry::no_wait);
}

void JsonFile::look_later(std::chrono::milliseconds after) {
  later_ = loop_.at(os::Clock::now() + after, [this] { take_in(Hurry::no_wait); });
}

void JsonFile::take_in(Hurry hurry) {
  if (file_watch_ && file_watch_->read()) stale_ = true;
  if (!stale_) return;
  stale_ = false;
  const auto limit = hurry == Hurry::wait ? os::Deadline::after(kLockTime) : os::Deadline::passed();
  const auto look = [&](const JsonDocument& document) {
    note_clients(document);
    if (receiving_ || hurry == Hurry::wait)
      hand_out(document);
    else
      stale_ = true;  // receive(true) looks again
  };
  try {
    switch (store_.read(look, limit)) {
      case JsonStore::Result::done:
        acknowledge(std::exchange(broken_, {}));
        return;
      case JsonStore::Result::gone:
        if (watches_peers_) receiver_.peers_changed();
        return;
      case JsonStore::Result::busy:
        stale_ = true;
        look_later(kRetry);
        return;
    }
  } catch (const ProtocolError& error) {
    receiver_.dropped(std::string("the bus can't be read: ") + error.what());
  }
}

void JsonFile::hand_out(const JsonDocument& document) {
  if (!joined_) return;
  const auto mailbox = document.messages.find(request_.name);
  if (mailbox == document.messages.end()) return;
  std::unordered_map<std::string, std::size_t> seen;
  std::vector<Message> fresh;
  for (const std::string_view element : elements_of(mailbox->second)) {
    const std::string key = key_of_message(element);
    if (++seen[key] <= handed_out_[key]) continue;
    if (keeps_requeued_ && put_back_.contains(key)) continue;
    put_back_.erase(key);
    ++handed_out_[key];
    try {
      Message message = wire::read_envelope(element, request_.name);
      if (message.id != key) keys_[message.id] = key;
      fresh.push_back(std::move(message));
    } catch (const ProtocolError& error) {
      broken_.push_back(key);
      receiver_.dropped(std::string("a message was dropped: ") + error.what());
    }
  }
  for (Message& message : fresh) receiver_.received(std::move(message));
}

void JsonFile::note_clients(const JsonDocument& document) {
  if (!watches_peers_) return;
  std::vector<ForeignWatch::Peer> foreign;
  for (const auto& [name, raw] : document.clients) {
    const JsonClient client = JsonClient::parse(raw);
    if (client.pid && !store_.companion().holds_lock(name)) foreign.push_back({name, *client.pid});
  }
  foreign_.follow(foreign);
  if (clients_ == document.clients) return;
  clients_ = document.clients;
  receiver_.peers_changed();
}

void JsonFile::drain() {
  for (Message& message : std::exchange(kept_, {})) receiver_.received(std::move(message));
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
    std::string& mailbox = document.messages.try_emplace(request_.name, "[]").first->second;
    const std::string before = mailbox;
    mailbox = "[]";
    for (const Message& message : messages) append_element(mailbox, wire::write_envelope(message));
    for (const std::string_view element : elements_of(before)) append_element(mailbox, element);
    return true;
  });
  for (const Message& message : messages) put_back_.insert(message.id);
  stale_ = true;
}

void JsonFile::acknowledge(const std::vector<std::string>& ids) {
  if (!joined_) return;
  std::unordered_map<std::string, std::size_t> done;
  for (const std::string& id : ids) {
    std::string key = id;
    if (const auto made_up = keys_.find(id); made_up != keys_.end()) {
      key = std::move(made_up->second);
      keys_.erase(made_up);
    }
    const auto out = handed_out_.find(key);
    if (out != handed_out_.end() && out->second > done[key]) ++done[key];
  }
  std::erase_if(done, [](const auto& entry) { return entry.second == 0; });
  if (done.empty()) return;
  const auto remove = [&](JsonDocument& document) {
    const auto mailbox = document.messages.find(request_.name);
    if (mailbox == document.messages.end()) return false;
    std::vector<std::string_view> rest;
    auto left = done;
    for (const std::string_view element : elements_of(mailbox->second)) {
      const std::string key = key_of_message(element);
      if (const auto count = left.find(key); count != left.end() && count->second > 0)
        --count->second;
      else
        rest.push_back(element);
    }
    std::string text = array_of(rest);
    mailbox->second = std::move(text);
    return true;
  };
  if (store_.change(remove, os::Deadline::after(kLockTime)) == JsonStore::Result::busy) fail_locked();
  for (const auto& [key, count] : done)
    if ((handed_out_[key] -= count) == 0) handed_out_.erase(key);
}

std::vector<std::string> JsonFile::peers() {
  std::vector<std::string> names, dead;
  if (store_.read(
          [&](const JsonDocument& document) {
            for (const auto& [name, raw] : document.clients) {
              if (joined_ && name == request_.name) continue;
              if (judge(document, name).state != PeerFacts::State::dead)
                names.push_back(name);
              else if (const auto unread = document.messages.find(name);
                       unread == document.messages.end() || elements_of(unread->second).empty())
                dead.push_back(name);  // messages are never thrown away unseen: they wait for a successor
            }
          },
          os::Deadline::after(kLockTime)) != JsonStore::Result::done)
    return {};
  if (dead.empty()) return names;
  (void)store_.change(
      [&](JsonDocument& document) {
        bool changed = false;
        for (const std::string& name : dead) {
          // Who clears holds the lock meanwhile, so that nobody takes the name in between.
          HeldLock::Attempt attempt;
          auto lock = store_.companion().take(name, HeldLock::kClearing, attempt);
          if (!lock) continue;
          const auto found = document.clients.find(name);
          if (found != document.clients.end()) {
            const JsonClient client = JsonClient::parse(found->second);
            const bool expired =
                !client.pid && client.suspend_expires.value_or(1e300) < os::wall_clock_seconds();
            if (expired || (client.pid && Companion::is_leftover(*client.pid, attempt))) {
              document.clients.erase(name);
              document.messages.erase(name);
              document.stats.erase(name);
              changed = true;
            }
          }
          store_.companion().release(*lock);
        }
        return changed;
      },
      os::Deadline::after(kLockTime));
  return names;
}

PeerFacts JsonFile::look(const std::string& peer) {
  PeerFacts facts;
  (void)store_.read([&](const JsonDocument& document) { facts = judge(document, peer); },
                    os::Deadline::after(kLockTime));
  return facts;
}

void JsonFile::watch_peers() {
  if (watches_peers_) return;
  watches_peers_ = true;
  if (!file_watch_) {
    file_watch_ = std::make_unique<os::FileWatch>(request_.info.route);
    changing_ = loop_.watch(file_watch_->fd(), EPOLLIN, [this](std::uint32_t) { on_change(); });
  }
  presence_watch_ = std::make_unique<os::DirectoryWatch>(store_.companion().directory().short_path("."));
  presence_ = loop_.watch(presence_watch_->fd(), EPOLLIN, [this](std::uint32_t) {
    bool changed = false;
    presence_watch_->read([&](std::string_view file) {
      changed = changed || (file != JsonStore::kJournal && Companion::is_news(file));
    });
    if (changed) receiver_.peers_changed();
  });
  (void)store_.read(
      [&](const JsonDocument& document) {
        clients_ = document.clients;
        note_clients(document);
      },
      os::Deadline::after(kLockTime));
}

std::map<std::string, Statistics> JsonFile::all_statistics() {
  std::map<std::string, Statistics> all;
  read([&](const JsonDocument& document) {
    for (const auto& [name, raw] : document.stats) all[name] = read_statistics(raw);
  });
  return all;
}

void JsonFile::leave(const Statistics& statistics) {
  const bool counted = !statistics.sent.empty() || !statistics.read.empty();
  if (!joined_ && !(request_.anonymous && counted)) return;
  changing_.stop();
  later_.stop();
  try {
    (void)store_.change(
        [&](JsonDocument& document) {
          hand_out(document);  // what has come up to now; who sends from now on is told that we are gone
          if (counted) document.stats[request_.name] = write_statistics(statistics);
          if (joined_) forget_place(document);
          return true;
        },
        os::Deadline::after(kLockTime));
  } catch (const Error& error) {
    receiver_.dropped(std::string("the bus was left, and could not be told so: ") + error.what());
  }
  joined_ = false;
  store_.companion().release(lock_);
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
  joined_ = false;
  store_.companion().release(lock_);
  file_watch_.reset();
}

namespace {

class JsonFileProtocol final : public FileProtocol {
 public:
  [[nodiscard]] const char* name() const override { return "JSONFile"; }
  [[nodiscard]] const char* summary() const override {
    return "one JSON file, rewritten for each message; slow, easily looked into";
  }
  [[nodiscard]] std::string why_not_viable() const noexcept override {
    return os::look_at("/proc/self/fd").kind == os::FileKind::directory ? std::string()
                                                                        : "/proc is not mounted";
  }
  [[nodiscard]] bool keeps_messages() const override { return true; }
  [[nodiscard]] std::unique_ptr<Transport> join(const JoinRequest& request, Loop& loop,
                                                Receiver& receiver) const override {
    return std::make_unique<JsonFile>(request, loop, receiver);
  }

 private:
  [[nodiscard]] const char* suffix() const override { return ".json"; }
  void prepare(const std::string& route) const override { JsonStore::prepare(route); }
};

}  // namespace

const Protocol& json_file_protocol() {
  static const JsonFileProtocol protocol;
  return protocol;
}

}  // namespace ipcm::transport
