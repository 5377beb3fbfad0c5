// ConnectionUnix: accepts callers, and limits their use of memory and descriptors.

#include <algorithm>

#include "ipcm/error.h"
#include "os/clock.h"
#include "os/process.h"
#include "os/socket.h"
#include "transport/connection_unix/connection_unix.h"
#include "wire/envelope.h"
#include "wire/printable.h"

namespace ipcm::transport {
namespace {

/// The time in which a caller must greet.
constexpr auto kGreetingTime = std::chrono::seconds(10);
/// The limit of callers that have not greeted; a further caller replaces the oldest.
constexpr std::size_t kMostSilent = 256;
/// The callers that are accepted before other callbacks of the loop run.
constexpr int kAcceptsPerTurn = 64;

}  // namespace

void ConnectionUnix::accept(Callers callers) {
  // "All" ends too: it means the callers that wait now, and the queue of a listener is not longer.
  constexpr int kLongestQueue = 8192;
  for (int left = callers == Callers::all ? kLongestQueue : kAcceptsPerTurn; left > 0; --left) {
    os::Accepted accepted = os::accept_from(listener_.get(), reserve_);
    if (accepted.refused) {
      if (!std::exchange(refuses_, true))
        receiver_.dropped("callers are refused: no descriptors left (raise ulimit -n)");
      // The next caller may replace one that has not greeted yet.
      (void)drop_silent_caller("");
    } else if (accepted.error != 0) {
      listening_.want(0);
      accepting_.failed(SystemError(accepted.error, "accept a caller").what());
      return;
    } else if (!accepted.socket) {
      break;
    } else {
      take_caller(std::move(accepted.socket));
    }
  }
  accepting_.succeeded();
}

void ConnectionUnix::take_caller(os::UniqueFd socket) {
  const auto identity = os::identity_of_peer(socket.get());
  if (!identity || (identity->user != os::own_user() && identity->user != 0)) {
    receiver_.dropped("a caller of user " + (identity ? std::to_string(identity->user) : "?") +
                      " was refused");
    return;
  }
  if (silent_.size() >= kMostSilent)
    (void)drop_silent_caller("a caller that had not said who it is was dropped: too many of them wait");
  try {
    Connection& caller = adopt(std::make_unique<Connection>(std::move(socket), ""));
    const Id id = caller.id;
    silent_.insert(id);
    caller.greeting_deadline = loop_.at(os::from_now(kGreetingTime), [this, id] {
      close(id, "a caller that did not say who it is in time was dropped");
    });
    refuses_ = false;
  } catch (const SystemError& error) {
    if (!std::exchange(refuses_, true))
      receiver_.dropped(std::string("a caller was refused: ") + error.what());
  }
}

bool ConnectionUnix::is_late_greeting(std::string_view payload) const {
  try {
    return wire::is_late_hello(request_.serializer->read_value(payload));
  } catch (const ProtocolError&) {
    return false;
  }
}

void ConnectionUnix::greeted(Id id, Connection& connection, wire::Hello hello) {
  connection.peer = std::move(hello.name);
  connection.peer_understands = hello.version >= wire::kSharesMemory;
  connection.greeting_deadline.stop();
  silent_.erase(id);
  // Messages of one sender to one receiver must not overtake each other, so a connection that this member
  // opened remains the one for sending; an earlier one that the peer opened may belong to a predecessor of
  // that name.
  const Connection* before = route_to(connection.peer);
  if (before == nullptr || !before->opened_by_us) by_peer_[connection.peer] = id;
}

bool ConnectionUnix::drop_silent_caller(const std::string& why) {
  while (!silent_.empty()) {
    const Id oldest = *silent_.begin();
    read(oldest, 0);  // its greeting may have arrived
    if (silent_.contains(oldest)) {
      close(oldest, why);
      return true;
    }
  }
  return false;
}

void ConnectionUnix::limit_unread() {
  const auto largest =
      std::max_element(connections_.begin(), connections_.end(), [](const auto& one, const auto& other) {
        return one.second->unread.bytes() < other.second->unread.bytes();
      });
  const Connection& connection = *largest->second;
  const std::string who =
      connection.peer.empty() ? "a caller" : "'" + wire::printable_name(connection.peer) + "'";
  close(largest->first, who + " was cut off: it has sent " + std::to_string(connection.unread.bytes()) +
                            " bytes of a message, and all senders together more than the limit of " +
                            std::to_string(UnreadInput::limit()) + " bytes ($IPCM_INPUT_LIMIT, in MiB)");
}

}  // namespace ipcm::transport
