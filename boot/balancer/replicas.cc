#include "balancer/replicas.h"

#include <algorithm>
#include <numeric>

namespace ipcm::balancer {

Replicas::Replica* Replicas::find(const std::string& name) {
  const auto found =
      std::find_if(replicas_.begin(), replicas_.end(), [&](const Replica& one) { return one.name == name; });
  return found == replicas_.end() ? nullptr : &*found;
}

void Replicas::set(const std::vector<std::string>& names) {
  for (Replica& one : replicas_) one.is_used = false;
  for (const std::string& name : names) {
    if (Replica* known = find(name))
      known->is_used = true;
    else
      replicas_.push_back({name, true, false, 0});
  }
  forget_unused();
}

void Replicas::forget_unused() {
  std::erase_if(replicas_, [](const Replica& one) { return !one.is_used && one.open == 0; });
}

void Replicas::note(const std::string& name, bool is_there) {
  if (Replica* known = find(name)) known->is_there = is_there;
}

std::optional<std::string> Replicas::choose(const std::set<std::string>& tried) {
  const Replica* best = nullptr;
  std::size_t best_index = 0;
  for (std::size_t i = 0; i < replicas_.size(); ++i) {
    const std::size_t index = (turn_ + i) % replicas_.size();
    const Replica& one = replicas_[index];
    if (!one.is_used || !one.is_there || tried.contains(one.name)) continue;
    if (best != nullptr && one.open >= best->open) continue;
    best = &one;
    best_index = index;
  }
  if (best == nullptr) return std::nullopt;
  turn_ = best_index + 1;
  return best->name;
}

void Replicas::begin(const std::string& name) {
  if (Replica* known = find(name)) ++known->open;
}

void Replicas::end(const std::string& name) {
  if (Replica* known = find(name); known != nullptr && known->open > 0) --known->open;
  forget_unused();
}

std::size_t Replicas::open() const {
  return std::accumulate(replicas_.begin(), replicas_.end(), std::size_t{0},
                         [](std::size_t sum, const Replica& one) { return sum + one.open; });
}

bool Replicas::is_drained() const {
  return std::all_of(replicas_.begin(), replicas_.end(), [](const Replica& one) { return one.is_used; });
}

std::vector<std::string> Replicas::names() const {
  std::vector<std::string> all;
  for (const Replica& one : replicas_)
    if (one.is_used) all.push_back(one.name);
  return all;
}

std::vector<std::string> Replicas::absent() const {
  std::vector<std::string> all;
  for (const Replica& one : replicas_)
    if (one.is_used && !one.is_there) all.push_back(one.name);
  return all;
}

}  // namespace ipcm::balancer
