#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "transport/database/store.h"
#include "transport/transport.h"

namespace ipcm::database {

/// The messages to one member: rows of ipcm_messages. This object knows only how far the member has read
/// them.
///
/// It reads a message, passes it on, and deletes its row only when the reader comes back for more, or
/// leaves: after a crash in between, a successor that takes the name with reconnect gets the message again,
/// and none is lost. Throws StoreError.
class Inbox {
 public:
  /// `id`: the id of the member in the tables. All arguments must outlive the object.
  Inbox(Store& store, const transport::JoinRequest& request, const std::string& id,
        transport::Receiver& receiver)
      : store_(store), request_(request), id_(id), receiver_(receiver) {}

  void receive(bool on) { receiving_ = on; }
  [[nodiscard]] bool receives() const { return receiving_; }
  /// Reads messages. Returns whether there were any. `everything`: until none is left, including those put
  /// back.
  bool take_in(bool everything);
  /// Acknowledges messages by the ids that they were passed on with. Returns whether rows should be removed
  /// now.
  [[nodiscard]] bool note_finished(const std::vector<std::string>& ids);
  void remove_finished();
  /// Puts messages back. They come again after offer_put_back(), here or to a successor.
  void put_back(const std::vector<Message>& messages);
  void offer_put_back() { put_back_.clear(); }
  /// Called before leaving: passes on the remaining messages, and removes all that were not put back.
  /// Returns how many were not read.
  [[nodiscard]] std::int64_t empty();

 private:
  void take_row(const Values& row);
  void take_rows(const Values& ids);

  Store& store_;
  const transport::JoinRequest& request_;
  const std::string& id_;
  transport::Receiver& receiver_;
  bool receiving_ = true;
  std::map<std::string, std::string> delivered_;  // the id in the table, by the id that was passed on
  std::vector<std::string> finished_;             // acknowledged, not yet removed; ids in the table
  std::set<std::string> put_back_;                // ids in the table
  std::map<std::string, unsigned> forgone_;       // put back before their acknowledgement: ignore that one
};

}  // namespace ipcm::database
