#include "transport/presence/process_watch.h"

#include <sys/epoll.h>

#include <optional>
#include <set>
#include <utility>

#include "ipcm/error.h"
#include "os/process.h"

namespace ipcm::transport {

void ProcessWatch::follow(const std::vector<Peer>& peers) {
  std::set<std::string> here;
  for (const Peer& peer : peers) {
    here.insert(peer.name);
    const auto known = followed_.find(peer.name);
    if (known != followed_.end() && known->second.pid == peer.pid) continue;
    std::optional<os::UniqueFd> process;
    try {
      process = os::open_process(peer.pid);
    } catch (const Error&) {
      // There is no free descriptor: its death shows at the next look.
    }
    if (!process) continue;
    Followed one{peer.pid, std::move(*process), {}};
    one.watch = loop_.watch(one.process.get(), EPOLLIN, [this, name = peer.name](std::uint32_t) {
      // NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
      const std::string gone = name;  // erasing destroys the copy in this callback
      ProcessWatch* self = this;
      self->followed_.erase(gone);
      self->died_();
    });
    followed_.insert_or_assign(peer.name, std::move(one));
  }
  std::erase_if(followed_, [&](const auto& entry) { return !here.contains(entry.first); });
}

}  // namespace ipcm::transport
