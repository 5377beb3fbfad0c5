#include "transport/json_file/presence.h"

#include <sys/epoll.h>

#include "ipcm/error.h"
#include "os/clock.h"
#include "transport/json_file/store.h"

namespace ipcm::transport {

JsonPresence::JsonPresence(const Sidecar& sidecar, Loop& loop, Receiver& receiver)
    : sidecar_(sidecar),
      loop_(loop),
      receiver_(receiver),
      foreign_(loop, [this] { receiver_.peers_changed(); }) {}

PeerFacts JsonPresence::judge(const JsonDocument& document, const std::string& peer,
                              os::UniqueFd* process) const {
  const auto found = document.clients.find(peer);
  if (found == document.clients.end()) return {};
  const JsonClient client = JsonClient::parse(found->second);
  return sidecar_.judge(peer, client.is_away() ? std::nullopt : client.pid, client.suspend_expires_at,
                        process);
}

JsonPresence::Listed JsonPresence::list(const JsonDocument& document, const std::string& but_for) const {
  Listed listed;
  for (const auto& [name, raw] : document.clients) {
    if (name == but_for) continue;
    const PeerFacts facts = judge(document, name);
    if (facts.state != PeerFacts::State::dead) {
      listed.names.push_back(name);
      continue;
    }
    if (!facts.surely_dead) continue;
    receiver_.found_dead(name, facts);
    if (const auto unread = document.messages.find(name);
        unread == document.messages.end() || elements_of(unread->second).empty())
      listed.dead.push_back(name);  // messages are never discarded unread: they wait for a successor
  }
  return listed;
}

bool JsonPresence::clear(JsonDocument& document, const std::vector<std::string>& dead) const {
  bool changed = false;
  for (const std::string& name : dead) {
    // Hold the lock meanwhile, so that no peer takes the name in between.
    HeldLock::Attempt attempt;
    auto lock = sidecar_.take(name, HeldLock::kClearing, attempt);
    if (!lock) continue;
    const auto found = document.clients.find(name);
    if (found != document.clients.end()) {
      const JsonClient client = JsonClient::parse(found->second);
      const bool leftover = !client.is_away() && Sidecar::is_leftover(*client.pid, attempt);
      if (leftover || client.has_expired(os::wall_clock_seconds())) {
        document.clients.erase(name);
        document.messages.erase(name);
        document.stats.erase(name);
        changed = true;
      }
    }
    sidecar_.release(*lock);
  }
  return changed;
}

void JsonPresence::watch() {
  if (watches_) return;
  watches_ = true;
  directory_ = std::make_unique<os::DirectoryWatch>(sidecar_.directory().short_path("."));
  watching_ = loop_.watch(directory_->fd(), EPOLLIN, [this](std::uint32_t) {
    bool changed = false;
    directory_->read([&](std::string_view file) {
      changed = changed || (file != JsonStore::kJournal && Sidecar::is_news(file));
    });
    if (changed) receiver_.peers_changed();
  });
}

void JsonPresence::note(const JsonDocument& document, Tell tell) {
  if (!watches_) return;
  std::vector<ProcessWatch::Peer> foreign;
  for (const auto& [name, raw] : document.clients) {
    const JsonClient client = JsonClient::parse(raw);
    if (!client.is_away() && !sidecar_.holds_lock(name)) foreign.push_back({name, *client.pid});
  }
  foreign_.follow(foreign);
  if (clients_ == document.clients) return;
  clients_ = document.clients;
  if (tell == Tell::receiver) receiver_.peers_changed();
}

}  // namespace ipcm::transport
