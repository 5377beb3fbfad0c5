#pragma once

#include <optional>
#include <vector>

#include "supervisor/definition.h"

namespace ipcm::supervisor {

/// What other parameters mean for a child.
enum class Change {
  unchanged,
  updated,    ///< only in what the supervisor itself obeys: its process runs on
  restarted,  ///< in what its process is made of
  started,    ///< it is new
  stopped,    ///< it is not in them any more
};

[[nodiscard]] const char* to_string(Change change);

/// The difference between two sets of parameters. All lists have the same indices.
struct Difference {
  Definition definition;                         ///< the new children, and after them those that stop
  std::vector<Change> changes;                   ///< of each child
  std::vector<std::optional<std::size_t>> olds;  ///< the index of each child in the earlier definition
};

/// Compares definitions. A child that stops keeps its edges in both directions, so that it stops in order; if they
/// contradict the new ones, those of the children that stay go.
[[nodiscard]] Difference compare(const Definition& before, const Definition& after);

}  // namespace ipcm::supervisor
