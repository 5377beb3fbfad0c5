#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loop/recovery.h"
#include "os/events.h"
#include "transport/directory/own_place.h"
#include "transport/json_file/mailbox.h"
#include "transport/json_file/presence.h"
#include "transport/json_file/store.h"
#include "transport/transport.h"

namespace ipcm::transport {

// A member of a bus that is one JSON document (document.h, store.h; docs/bus.md): when it is read and
// changed, and how one joins and leaves. mailbox.h has the messages, presence.h the peers.

class JsonFile final : public Transport {
 public:
  /// Somebody who has the file locked longer than this has stopped.
  static constexpr Duration kPatience = std::chrono::seconds(30);

  JsonFile(const JoinRequest& request, Loop& loop, Receiver& receiver, Duration patience = kPatience);
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
  void keep_requeued() override { mailbox_.keep_put_back(); }
  void acknowledge(const std::vector<std::string>& ids) override;
  std::vector<std::string> peers() override;
  PeerFacts look(const std::string& peer) override { return identify(peer).facts; }
  Identified identify(const std::string& peer) override;
  void watch_peers() override;
  void watch_own_place() override;
  [[nodiscard]] bool keeps_links() const override { return false; }
  [[nodiscard]] Statistics past() const override { return past_; }
  std::map<std::string, Statistics> all_statistics() override;
  void leave(const Statistics& statistics) override;
  void suspend(const Statistics& statistics, std::optional<double> expires) override;
  bool is_orphaned() override { return store_.companion().is_orphaned(); }

 private:
  enum class Hurry { no_wait, wait };
  void claim(JsonDocument& document, const HeldLock::Attempt& attempt);
  void watch_file();
  void on_change();
  void lose_place(const std::string& why);
  void look_later(std::chrono::milliseconds after);
  void take_in(Hurry hurry);
  void take_in_for_loop();
  [[nodiscard]] os::Deadline limit() const { return os::Deadline::after(patience_); }
  /// false: the bus was taken down. Throws BusError where somebody else keeps the document locked.
  bool read_if_there(const std::function<void(const JsonDocument&)>& look);
  bool change_if_there(const std::function<bool(JsonDocument&)>& change);
  /// Throws BusError also where the bus was taken down.
  void read(const std::function<void(const JsonDocument&)>& look);
  void change(const std::function<bool(JsonDocument&)>& change);
  bool was_done(JsonStore::Result result) const;
  [[noreturn]] void fail_gone() const;
  /// What is told of a document that cannot be had.
  [[nodiscard]] std::string who_locks() const;
  void forget_place(JsonDocument& document) const;

  JoinRequest request_;
  Loop& loop_;
  Receiver& receiver_;
  Duration patience_;
  JsonStore store_;
  HeldLock lock_;
  std::unique_ptr<os::FileWatch> file_watch_;
  Watch changing_, later_;
  Recovery taking_in_;
  std::optional<OwnPlace> own_place_;
  bool joined_ = false;
  bool receiving_ = true;
  bool stale_ = true;  // the document may have changed since we looked
  Statistics past_;
  std::vector<Message> kept_;  // put back by an anonymous member
  JsonMailbox mailbox_;
  JsonPresence presence_;
};

}  // namespace ipcm::transport
