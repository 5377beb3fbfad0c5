#pragma once

#include <cstdint>
#include <string>

#include "ipcm/statistics.h"
#include "transport/transport.h"

namespace ipcm::bus {

/// The numbers of messages that a member has sent and read, by peer.
class MessageCounts {
 public:
  /// Reads the counts of earlier members of the same name from `transport`, when they are first needed.
  void start(const transport::Transport& transport) { transport_ = &transport; }

  [[nodiscard]] std::uint64_t& sent(const std::string& peer) { return own_.sent[peer]; }
  [[nodiscard]] std::uint64_t& read(const std::string& peer) { return own_.read[peer]; }
  /// Takes back what was counted for messages that turned out not to be sent.
  void uncount_sent(const std::string& peer, std::size_t messages);
  /// Takes back one message that was read, maybe by an earlier member of this name.
  void uncount_read(const std::string& peer);

  /// Includes the counts of earlier members of this name.
  [[nodiscard]] const Statistics& total();
  /// Whether stored() returns the counts; true at first.
  void store(bool stores) { stores_ = stores; }
  /// Returns the counts to leave on the bus.
  [[nodiscard]] Statistics stored() { return stores_ ? total() : Statistics{}; }

 private:
  const transport::Transport* transport_ = nullptr;
  Statistics own_;
  bool includes_past_ = false;
  bool stores_ = true;
};

}  // namespace ipcm::bus
