#include "supervisor/order.h"

#include <algorithm>

#include "ipcm/error.h"
#include "wire/printable.h"

namespace ipcm::supervisor {
namespace {

/// Returns a cycle among the nodes that could not be placed. Each of them needs another one of them, so that a walk
/// along the first such edge comes back to a node that it has seen.
std::string describe_cycle(const std::vector<Node>& nodes, const std::vector<bool>& placed) {
  std::vector<std::size_t> walk;
  auto at = static_cast<std::size_t>(std::find(placed.begin(), placed.end(), false) - placed.begin());
  auto seen = walk.end();
  while ((seen = std::find(walk.begin(), walk.end(), at)) == walk.end()) {
    walk.push_back(at);
    const auto& needs = nodes[at].needs;
    at = *std::find_if(needs.begin(), needs.end(), [&](std::size_t one) { return !placed[one]; });
  }
  std::string text;
  for (; seen != walk.end(); ++seen) {
    const std::size_t next = seen + 1 == walk.end() ? at : *(seen + 1);
    text += (text.empty() ? "'" : ", '") + wire::printable_name(nodes[*seen].name) + "' needs '" +
            wire::printable_name(nodes[next].name) + "'";
  }
  return text;
}

}  // namespace

std::vector<std::size_t> start_order(const std::vector<Node>& nodes) {
  std::vector<std::size_t> order;
  std::vector<bool> placed(nodes.size());
  while (order.size() < nodes.size()) {
    const std::size_t before = order.size();
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const auto& needs = nodes[i].needs;
      if (placed[i] || !std::all_of(needs.begin(), needs.end(), [&](std::size_t one) { return placed[one]; }))
        continue;
      placed[i] = true;
      order.push_back(i);
    }
    if (order.size() == before) throw UsageError("depends_on has a cycle: " + describe_cycle(nodes, placed));
  }
  return order;
}

std::vector<bool> with_dependents(const std::vector<Node>& nodes, std::size_t node) {
  std::vector<bool> found(nodes.size());
  found[node] = true;
  for (bool has_grown = true; has_grown;) {
    has_grown = false;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const auto& needs = nodes[i].needs;
      const auto is_found = [&](std::size_t one) { return static_cast<bool>(found[one]); };
      if (found[i] || needs.empty()) continue;
      if (!(nodes[i].needs_any ? std::all_of(needs.begin(), needs.end(), is_found)
                               : std::any_of(needs.begin(), needs.end(), is_found)))
        continue;
      found[i] = has_grown = true;
    }
  }
  return found;
}

}  // namespace ipcm::supervisor
