#include "supervisor/difference.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "ipcm/error.h"

namespace ipcm::supervisor {
namespace {

std::vector<std::string> needed_names(const Definition& definition, std::size_t index) {
  std::vector<std::string> names;
  for (const std::size_t needed : definition.nodes[index].needs)
    names.push_back(definition.nodes[needed].name);
  std::sort(names.begin(), names.end());
  return names;
}

bool has_same_process(const ChildPlan& one, const ChildPlan& other) {
  // A balancer is told its other replicas.
  const bool has_same_args = one.args == other.args || (one.is_balancer && other.is_balancer);
  return one.class_name == other.class_name && one.boot == other.boot && has_same_args &&
         one.ready_by_exit == other.ready_by_exit;
}

std::map<std::string, std::size_t> indices_of(const Definition& definition) {
  std::map<std::string, std::size_t> indices;
  for (std::size_t i = 0; i < definition.children.size(); ++i) indices[definition.children[i].name] = i;
  return indices;
}

}  // namespace

const char* to_string(Change change) {
  static constexpr const char* kNames[] = {"unchanged", "updated", "restarted", "started", "stopped"};
  return kNames[static_cast<std::size_t>(change)];
}

Difference compare(const Definition& before, const Definition& after) {
  const auto old_indices = indices_of(before);
  Difference result{after, {}, {}};
  std::vector<std::size_t> new_indices(before.children.size());
  std::vector<bool> stays(before.children.size());
  for (std::size_t i = 0; i < after.children.size(); ++i) {
    const auto old = old_indices.find(after.children[i].name);
    if (old == old_indices.end()) {
      result.changes.push_back(Change::started);
      result.olds.emplace_back();
      continue;
    }
    const ChildPlan& was = before.children[old->second];
    const ChildPlan& is = after.children[i];
    const bool is_same = was == is && needed_names(before, old->second) == needed_names(after, i);
    result.changes.push_back(was.is_leaving || !has_same_process(was, is) ? Change::restarted
                             : is_same                                    ? Change::unchanged
                                                                          : Change::updated);
    result.olds.emplace_back(old->second);
    new_indices[old->second] = i;
    stays[old->second] = true;
  }
  for (std::size_t old = 0; old < before.children.size(); ++old) {
    if (stays[old]) continue;
    new_indices[old] = result.definition.children.size();
    result.definition.children.push_back(before.children[old]);
    result.definition.children.back().is_leaving = true;
    result.definition.nodes.push_back({before.nodes[old].name, {}, before.nodes[old].needs_any});
    result.changes.push_back(Change::stopped);
    result.olds.emplace_back(old);
  }
  const auto add_edges = [&](bool also_of_those_that_stay) {
    for (std::size_t old = 0; old < before.children.size(); ++old)
      for (const std::size_t needed : before.nodes[old].needs)
        if (!stays[old] || (also_of_those_that_stay && !stays[needed]))
          result.definition.nodes[new_indices[old]].needs.push_back(new_indices[needed]);
  };
  const std::vector<Node> without = result.definition.nodes;
  try {
    add_edges(true);
    result.definition.order = start_order(result.definition.nodes);
  } catch (const UsageError&) {  // the new order is the reverse of the earlier one
    result.definition.nodes = without;
    add_edges(false);
    result.definition.order = start_order(result.definition.nodes);
  }
  return result;
}

}  // namespace ipcm::supervisor
