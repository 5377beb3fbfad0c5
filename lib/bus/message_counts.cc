#include "bus/message_counts.h"

#include <utility>

#include "ipcm/error.h"

namespace ipcm::bus {

void MessageCounts::uncount_sent(const std::string& peer, std::size_t messages) {
  if (auto& count = sent(peer); count >= messages) count -= messages;
}

void MessageCounts::uncount_read(const std::string& peer) {
  auto& count = read(peer);
  if (count == 0) (void)total();
  if (count > 0) --count;
}

const Statistics& MessageCounts::total() {
  if (std::exchange(includes_past_, true)) return own_;
  try {
    const Statistics past = transport_->past();
    for (const auto& [peer, count] : past.sent) own_.sent[peer] += count;
    for (const auto& [peer, count] : past.read) own_.read[peer] += count;
  } catch (const Error&) {
    // Unreadable statistics count as none: they must not prevent leaving.
  }
  return own_;
}

}  // namespace ipcm::bus
