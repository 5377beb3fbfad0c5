#pragma once

#include <memory>
#include <string>
#include <vector>

#include "transport/local_memory/local_bus.h"
#include "transport/transport.h"

namespace ipcm::transport {

/// A member of a bus in memory (local_bus.h).
class LocalMemory final : public Transport {
 public:
  LocalMemory(const JoinRequest& request, Loop& loop, Receiver& receiver);
  ~LocalMemory() override;
  LocalMemory(const LocalMemory&) = delete;
  LocalMemory& operator=(const LocalMemory&) = delete;

  SendResult send(const Message& message) override;
  [[nodiscard]] std::size_t queued_bytes(const std::string&) const override { return 0; }
  [[nodiscard]] std::size_t queued_messages() const override { return 0; }
  void abandon(const std::string&) override {}
  void drain() override;
  void receive(bool on) override;
  void requeue(const std::vector<Message>& messages) override;
  void keep_requeued() override { keeps_requeued_ = true; }
  std::vector<std::string> peers() override;
  PeerFacts look(const std::string& peer) override;
  void watch_peers() override;
  [[nodiscard]] bool keeps_links() const override { return false; }
  [[nodiscard]] Statistics past() const override { return past_; }
  std::map<std::string, Statistics> all_statistics() override;
  void leave(const Statistics& statistics) override;
  void suspend(const Statistics& statistics, std::optional<double> expires) override;
  bool is_orphaned() override;
  bool has_bus() override;

 private:
  void on_wake();
  void take_in();
  /// Gives up the registration, and returns the messages that are left in it.
  std::deque<Message> give_up_registration(const Statistics* statistics) noexcept;

  JoinRequest request_;
  Receiver& receiver_;
  std::uint32_t born_in_;
  std::shared_ptr<LocalBus> bus_;
  std::shared_ptr<LocalBus::Registration> registration_;
  Statistics past_;
  bool receiving_ = true;
  bool keeps_requeued_ = false;
  bool has_told_end_ = false;
  Watch waking_;
};

}  // namespace ipcm::transport
