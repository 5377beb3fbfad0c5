// ipcm ps --watch: prints the list of the members of a bus again whenever it changes.

#include <sys/epoll.h>

#include <algorithm>
#include <csignal>
#include <functional>

#include "commands/commands.h"
#include "ipcm/peer_events.h"
#include "loop/loop.h"
#include "os/signals.h"
#include "os/stream.h"
#include "peer_list.h"
#include "report.h"
#include "terminate.h"

namespace ipcm::launcher {
namespace {

/// No event tells of processor time, memory and answers: the list is made again after this time.
constexpr Duration kPeriod = std::chrono::seconds(1);

/// The last answers of the services. A service that did not answer is asked again after a pause that doubles each
/// time, since the requests wait in its mailbox.
class Pings {
 public:
  void ask(Client& client, const std::vector<PeerInfo>& peers) {
    const auto now = os::Clock::now();
    std::vector<std::string> due;
    for (const std::string& name : pingable(peers))
      if (const auto known = known_.find(name); known == known_.end() || known->second.next <= now)
        due.push_back(name);
    for (auto& [name, result] : inspect_all(client, due, kPingLimit)) {
      Known& known = known_[name];
      const bool is_silent = result.outcome == Inspected::Outcome::silent;
      known.pause = is_silent ? std::min(known.pause * 2, kLongestPause) : kPeriod;
      known.next = is_silent ? os::from_now(known.pause) : os::Clock::time_point{};
      known.result = std::move(result);
    }
  }

  /// Adds the answers to a list, and forgets those of other peers.
  void add_to(PeerList& list) {
    for (const std::string& name : pingable(list.peers))
      if (const auto known = known_.find(name); known != known_.end())
        list.pings.emplace(name, known->second.result);
    std::erase_if(known_, [&](const auto& entry) { return !list.pings.contains(entry.first); });
  }

 private:
  static constexpr Duration kLongestPause = std::chrono::minutes(1);
  struct Known {
    Duration pause = kPeriod;
    os::Clock::time_point next{};
    Inspected result;
  };
  std::map<std::string, Known> known_;
};

/// Prints a list if it shows something else than the last one. On a terminal, it takes the place of the last one, and
/// ages count as changes.
class Screen {
 public:
  explicit Screen(const Options& options) : json_(options.json), to_terminal_(os::is_terminal(1)) {}

  void show(const PeerList& list) {
    auto rows = rows_of(list);
    const auto shown = rows;
    if (json_ || !to_terminal_) drop_ages(rows);
    if (rows == last_) return;
    if (json_)
      print_json(json_of_peers(list));
    else if (to_terminal_)
      print_text("\x1b[H\x1b[J");  // to the first line; erase what follows
    else if (!last_.empty())
      print_text("\n");
    if (!json_) print_table(shown);
    flush_output();
    last_ = std::move(rows);
  }

 private:
  static void drop_ages(std::vector<std::vector<std::string>>& rows) {
    const auto& header = rows.front();
    const auto column = std::find(header.begin(), header.end(), kAgeColumn) - header.begin();
    for (auto& row : rows)
      if (column < static_cast<std::ptrdiff_t>(row.size())) row.erase(row.begin() + column);
  }

  bool json_, to_terminal_;
  std::vector<std::vector<std::string>> last_;
};

}  // namespace

int watch_peers(const Options& options) {
  os::SignalReader signals(os::heeded({SIGINT, SIGTERM}));
  Client client = visit(options);
  PeerEvents events(client);
  tell(options, "watches the bus " + client.info().text());
  Loop loop;
  bool is_over = false, has_event = true, is_due = true;
  const Watch signals_watch = loop.watch(signals.fd(), EPOLLIN, [&](std::uint32_t) {
    while (signals.next()) is_over = true;
  });
  const Watch news = loop.watch(client.fd(), EPOLLIN, [&](std::uint32_t) { has_event = true; });
  Watch period, limit;
  const std::function<void()> begin_period = [&] {
    period = loop.at(os::from_now(kPeriod), [&] {
      is_due = true;
      begin_period();
    });
  };
  begin_period();
  if (options.timeout && *options.timeout != kNoLimit)
    limit = loop.at(os::from_now(*options.timeout), [&] { is_over = true; });
  Pings pings;
  Screen screen(options);
  while (!is_over) {
    try {
      const bool is_period = std::exchange(is_due, false);
      // Also after each period: the calls that ask services take in events, too.
      const bool has_news = (std::exchange(has_event, false) || is_period) && !events.take().empty();
      // On a bus of mailboxes, a client that asks is a member, which `ipcm bus rm` asks to end.
      for (const Message& message : client.get_messages())
        is_over = is_over || asks_to_terminate(message.content);
      if (is_over) break;
      if (has_news || is_period) {
        PeerList list = list_with_pings(client, false, kNoLimit);
        list.is_pinged = options.ping;
        // Not after each event: on a bus that is one file, the requests are events themselves.
        if (options.ping && is_period) pings.ask(client, list.peers);
        if (options.ping) pings.add_to(list);
        screen.show(list);
      }
    } catch (const BusError&) {
      break;  // the bus was removed
    }
    (void)loop.turn(os::Deadline::never());
  }
  return number(Status::done);
}

}  // namespace ipcm::launcher
