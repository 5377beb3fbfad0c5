#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "transport/database/store.h"

namespace ipcm::database {

/// A message in the form of a row of ipcm_messages; borrowed for one call.
struct MessageRow {
  const std::string& id;
  const std::string& from;  ///< the real name of the sender
  const std::string& to;    ///< the id of a row of ipcm_peers
  double stamp;
  bool broadcast;
  const std::string& payload;
};
/// Inserts a row. false: no peer receives messages under that id now. Throws StoreError; after one of kind
/// late, `late` gets the result.
[[nodiscard]] bool insert_message(Store& store, const MessageRow& message, Store::LateResult late = {});
[[nodiscard]] bool has_message(Store& store, const std::string& id);
/// Removes the rows that exist. Throws StoreError.
void remove_messages(Store& store, const std::vector<std::string>& ids);
/// Returns whether a table whose ids are UUIDs can contain that id.
[[nodiscard]] bool is_uuid(const std::string& text);

}  // namespace ipcm::database
