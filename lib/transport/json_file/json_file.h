#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "os/events.h"
#include "transport/directory/foreign_watch.h"
#include "transport/json_file/store.h"
#include "transport/transport.h"

namespace ipcm::transport {

// A member of a bus that is one JSON document (document.h, store.h; docs/bus.md). Its messages stay in the
// document until they were dealt with; which of them were handed out is known here only, so that a successor
// finds those of a reader that died. The same id may be there more than once: copies are counted.

class JsonFile final : public Transport {
 public:
  JsonFile(const JoinRequest& request, Loop& loop, Receiver& receiver);
  ~JsonFile() override;
  JsonFile(const JsonFile&) = delete;
  JsonFile& operator=(const JsonFile&) = delete;

  Sent send(const Message& message, std::string& why) override;
  [[nodiscard]] std::size_t queued_bytes(const std::string&) const override { return 0; }
  [[nodiscard]] std::size_t queued_messages() const override { return 0; }
  void abandon(const std::string&) override {}
  void drain() override;
  void receive(bool on) override;
  void requeue(const std::vector<Message>& messages) override;
  void keep_requeued() override { keeps_requeued_ = true; }
  void acknowledge(const std::vector<std::string>& ids) override;
  std::vector<std::string> peers() override;
  PeerFacts look(const std::string& peer) override;
  void watch_peers() override;
  [[nodiscard]] bool keeps_links() const override { return false; }
  [[nodiscard]] Statistics past() const override { return past_; }
  std::map<std::string, Statistics> all_statistics() override;
  void leave(const Statistics& statistics) override;
  void suspend(const Statistics& statistics, std::optional<double> expires) override;
  bool is_orphaned() override { return store_.companion().is_orphaned(); }

 private:
  enum class Hurry { no_wait, wait };
  void on_change();
  void look_later(std::chrono::milliseconds after);
  void take_in(Hurry hurry);
  void hand_out(const JsonDocument& document);
  void note_clients(const JsonDocument& document);
  [[nodiscard]] PeerFacts judge(const JsonDocument& document, const std::string& peer) const;
  /// Throws where the document can't be had.
  void read(const std::function<void(const JsonDocument&)>& look);
  void change(const std::function<bool(JsonDocument&)>& change);
  [[noreturn]] void fail_locked() const;
  void forget_place(JsonDocument& document) const;

  JoinRequest request_;
  Loop& loop_;
  Receiver& receiver_;
  JsonStore store_;
  HeldLock lock_;
  std::unique_ptr<os::FileWatch> file_watch_;
  Watch changing_, later_;
  bool joined_ = false;
  bool receiving_ = true;
  bool stale_ = true;  // the document may have changed since we looked
  Statistics past_;
  std::vector<Message> kept_;                                // put back by an anonymous member
  std::unordered_map<std::string, std::size_t> handed_out_;  // copies, by key_of_message()
  std::unordered_map<std::string, std::string> keys_;        // of messages without an id, by the one made up
  std::vector<std::string> broken_;                          // keys of what is no message, to be removed
  std::unordered_set<std::string> put_back_;                 // keys of what was put back and not read again
  bool keeps_requeued_ = false;
  std::map<std::string, std::string> clients_;  // as last seen
  bool watches_peers_ = false;
  std::unique_ptr<os::DirectoryWatch> presence_watch_;
  Watch presence_;
  ForeignWatch foreign_;
};

}  // namespace ipcm::transport
