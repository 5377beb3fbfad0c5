#include "command/jsonrpc/subscriptions.h"

#include <set>

#include "ipcm/error.h"
#include "wire/printable.h"

namespace ipcm::command::jsonrpc {
namespace {

constexpr std::size_t kMost = 10'000;
constexpr const char* kAll = "*";

}  // namespace

void Subscriptions::add(const std::string& peer, const std::string& method, bool answers) {
  if (answers) {
    const std::string other = answerer_of(method);
    if (!other.empty() && other != peer)
      throw UsageError("'" + wire::printable_name(other) + "' answers requests of the method '" +
                       wire::printable_name(method) + "' already");
  }
  const auto known = peers_.find(method);
  const bool is_new = known == peers_.end() || !known->second.contains(peer);
  if (is_new && count_ >= kMost)
    throw UsageError("there are " + std::to_string(kMost) + " subscriptions, the most that are possible");
  peers_[method][peer] = answers;
  if (is_new) ++count_;
}

bool Subscriptions::remove(const std::string& peer, const std::string& method) {
  const auto known = peers_.find(method);
  if (known == peers_.end() || known->second.erase(peer) == 0) return false;
  if (known->second.empty()) peers_.erase(known);
  --count_;
  return true;
}

void Subscriptions::forget(const std::string& peer) {
  for (auto method = peers_.begin(); method != peers_.end();) {
    count_ -= method->second.erase(peer);
    method = method->second.empty() ? peers_.erase(method) : std::next(method);
  }
}

std::vector<std::string> Subscriptions::of(const std::string& method) const {
  std::set<std::string> all;
  for (const std::string& name : {method, std::string(kAll)})
    if (const auto found = peers_.find(name); found != peers_.end())
      for (const auto& [peer, answers] : found->second) all.insert(peer);
  return {all.begin(), all.end()};
}

std::string Subscriptions::answerer(const std::string& method) const {
  const std::string exact = answerer_of(method);
  return exact.empty() ? answerer_of(kAll) : exact;
}

std::string Subscriptions::answerer_of(const std::string& method) const {
  if (const auto found = peers_.find(method); found != peers_.end())
    for (const auto& [peer, answers] : found->second)
      if (answers) return peer;
  return {};
}

}  // namespace ipcm::command::jsonrpc
