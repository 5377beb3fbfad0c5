#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace ipcm::supervisor {

/// A node of the graph of dependencies.
struct Node {
  std::string name;
  std::vector<std::size_t> needs;  ///< the indices of the nodes that must be ready before
  bool needs_any = false;          ///< one of them is enough
};

/// Returns the indices of the nodes in an order in which each stands after all that it needs; otherwise the given order
/// is kept. Throws UsageError that prints a cycle, such as "a needs b, b needs a".
[[nodiscard]] std::vector<std::size_t> start_order(const std::vector<Node>& nodes);

/// Returns `node` and all nodes that need it, directly or not, as a flag for each node. One that needs any of several
/// nodes is among them if all of those are.
[[nodiscard]] std::vector<bool> with_dependents(const std::vector<Node>& nodes, std::size_t node);

}  // namespace ipcm::supervisor
