#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "transport/database/store.h"
#include "transport/transport.h"

namespace ipcm::database {

/// The messages to one member: rows of ipcm_messages, of which it knows here only how far it has come.
///
/// A message is read, handed on, and its row deleted only when the reader comes back for more, or leaves: a
/// crash in between delivers it again to whoever takes the name up with reconnect, and loses nothing. Throws
/// StoreError.
class Inbox {
 public:
  /// `id`: as the tables call us. All must outlive it.
  Inbox(Store& store, const transport::JoinRequest& request, const std::string& id,
        transport::Receiver& receiver)
      : store_(store), request_(request), id_(id), receiver_(receiver) {}

  void receive(bool on) { receiving_ = on; }
  [[nodiscard]] bool receives() const { return receiving_; }
  /// Returns whether there was something. `everything`: until nothing is left, messages put back too.
  bool take_in(bool everything);
  /// Dealt with, by the ids they were handed on under. Whether something is to be removed now.
  [[nodiscard]] bool note_finished(const std::vector<std::string>& ids);
  void remove_finished();
  /// They come again once offer_put_back() was called, here or to a successor.
  void put_back(const std::vector<Message>& messages);
  void offer_put_back() { put_back_.clear(); }
  /// Leaving is next: hands over what is there, and removes all but what was put back. How many nobody read.
  [[nodiscard]] std::int64_t empty();

 private:
  void take_row(const Values& row);
  void take_rows(const Values& ids);

  Store& store_;
  const transport::JoinRequest& request_;
  const std::string& id_;
  transport::Receiver& receiver_;
  bool receiving_ = true;
  std::map<std::string, std::string> delivered_;  // by the id as it was handed on; as the table has it
  std::vector<std::string> finished_;             // dealt with, and still in the table, as that has them
  std::set<std::string> put_back_;                // as the table has them
  std::map<std::string, unsigned> forgone_;  // put back before they were acknowledged: those words are void
};

}  // namespace ipcm::database
