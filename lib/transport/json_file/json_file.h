#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loop/recovery.h"
#include "os/events.h"
#include "os/time_limit.h"
#include "transport/json_file/mailbox.h"
#include "transport/json_file/outbox.h"
#include "transport/json_file/presence.h"
#include "transport/json_file/store.h"
#include "transport/presence/own_place.h"
#include "transport/transport.h"

namespace ipcm::transport {

// A member of a bus that is one JSON document (document.h, store.h; docs/bus.md): reading and changing the
// document, joining and leaving. mailbox.h has the messages, presence.h the peers.

class JsonFile final : public Transport {
 public:
  /// A process that has the file locked longer than this has stopped. The limit of the caller may be
  /// shorter.
  static constexpr Duration kPatience = std::chrono::seconds(10);

  JsonFile(const JoinRequest& request, Loop& loop, Receiver& receiver, Duration patience = kPatience);
  ~JsonFile() override;
  JsonFile(const JsonFile&) = delete;
  JsonFile& operator=(const JsonFile&) = delete;

  SendResult send(const Message& message) override;
  [[nodiscard]] std::size_t queued_bytes(const std::string& peer) const override {
    return outbox_.bytes_for(peer);
  }
  [[nodiscard]] std::size_t queued_messages() const override { return outbox_.size(); }
  void abandon(const std::string& peer) override { outbox_.abandon(peer); }
  void drain() override;
  void receive(bool on) override;
  void requeue(const std::vector<Message>& messages) override;
  void keep_requeued() override { mailbox_.keep_put_back(); }
  void acknowledge(const std::vector<std::string>& ids) override;
  std::vector<std::string> peers() override;
  PeerFacts look(const std::string& peer) override { return identify(peer).facts; }
  Identified identify(const std::string& peer) override;
  void watch_peers() override;
  [[nodiscard]] bool has_bus() override;
  void note_own_place() override;
  void look_at_own_place() override;
  void watch_own_place() override;
  [[nodiscard]] bool keeps_links() const override { return false; }
  [[nodiscard]] Statistics past() const override { return past_; }
  std::map<std::string, Statistics> all_statistics() override;
  void leave(const Statistics& statistics) override;
  void suspend(const Statistics& statistics, std::optional<double> expires) override;
  bool is_orphaned() override { return store_.sidecar().is_orphaned(); }

 private:
  enum class Hurry { no_wait, wait };
  void claim(JsonDocument& document, const HeldLock::Attempt& attempt);
  void watch_file();
  void on_change();
  void lose_place(const std::string& why);
  void look_later(std::chrono::milliseconds after);
  void take_in(Hurry hurry);
  void take_in_for_loop();
  [[nodiscard]] os::Deadline limit() const { return os::limited(patience_); }
  /// Writes the messages and acknowledgements that are queued because the document was locked. Waits for
  /// the lock, at most until the deadline.
  void write_waiting(os::Deadline deadline);
  void try_again_later();
  /// Returns false if the bus was taken down. Throws BusError if another process keeps the document locked;
  /// Timeout if the limit of the caller has passed while it was.
  bool read_if_there(const std::function<void(const JsonDocument&)>& look);
  bool change_if_there(const std::function<bool(JsonDocument&)>& change);
  /// As above, but throws BusError also if the bus was taken down.
  void read(const std::function<void(const JsonDocument&)>& look);
  void change(const std::function<bool(JsonDocument&)>& change);
  bool was_done(JsonStore::Result result) const;
  [[noreturn]] void fail_gone() const;
  /// Returns the text of the error about a document that is locked.
  [[nodiscard]] std::string who_locks() const;
  void forget_place(JsonDocument& document) const;

  JoinRequest request_;
  Loop& loop_;
  Receiver& receiver_;
  Duration patience_;
  JsonStore store_;
  HeldLock lock_;
  std::unique_ptr<os::FileWatch> file_watch_;
  Watch changing_, later_, writing_;
  Recovery taking_in_;
  std::optional<os::Directory> place_of_file_;
  std::optional<OwnPlace> own_file_, own_place_;
  std::chrono::milliseconds retry_in_{1};
  bool joined_ = false;
  bool receiving_ = true;
  bool stale_ = true;  // the document may have changed since it was read
  Statistics past_;
  std::vector<Message> kept_;  // put back by an anonymous member, which has no place in the document
  JsonMailbox mailbox_;
  JsonPresence presence_;
  JsonOutbox outbox_;
  JsonMailbox::Copies acknowledged_;  // not yet removed from the document
};

}  // namespace ipcm::transport
