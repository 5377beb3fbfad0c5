#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "transport/database/store.h"

namespace ipcm::database {

/// A message as it becomes a row of ipcm_messages; borrowed for one call.
struct MessageRow {
  const std::string& id;
  const std::string& from;  ///< a peer's real name
  const std::string& to;    ///< the id of a row of ipcm_peers
  double stamp;
  bool broadcast;
  const std::string& payload;
};
/// false: nobody takes messages under that id, any more or yet. Throws StoreError.
[[nodiscard]] bool insert_message(Store& store, const MessageRow& message);
[[nodiscard]] bool has_message(Store& store, const std::string& id);
/// Those that are there. Throws StoreError.
void remove_messages(Store& store, const std::vector<std::string>& ids);
/// Whether a table whose ids are UUIDs can hold that one.
[[nodiscard]] bool is_uuid(const std::string& text);

}  // namespace ipcm::database
