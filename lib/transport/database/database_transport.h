#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "transport/database/store.h"
#include "transport/directory/foreign_watch.h"
#include "transport/transport.h"

namespace ipcm::database {

// Peers and messages are rows of two tables, as the Perl reference has them; docs/bus.md tells them. What
// differs between kinds of database (who is alive, how one is woken) is the Store's.
//
// A message is read, handed on, and its row deleted only when the reader comes back for more, or leaves: a
// crash in between delivers it again to whoever takes the name up with reconnect, and loses nothing.

class DatabaseTransport final : public transport::Transport {
 public:
  DatabaseTransport(const transport::JoinRequest& request, Loop& loop, transport::Receiver& receiver,
                    std::unique_ptr<Store> store);
  ~DatabaseTransport() override;

  Sent send(const Message& message, std::string& why) override;
  [[nodiscard]] std::size_t queued_bytes(const std::string& peer) const override;
  [[nodiscard]] std::size_t queued_messages() const override { return outbox_.size(); }
  void abandon(const std::string& peer) override;
  void drain() override;
  void receive(bool on) override;
  void requeue(const std::vector<Message>& messages) override;
  void keep_requeued() override { keeps_put_back_ = true; }
  void acknowledge(const std::vector<std::string>& ids) override;
  std::vector<std::string> peers() override;
  transport::PeerFacts look(const std::string& peer) override;
  void watch_peers() override;
  /// A peer that leaves says so in its row, which whoever has sent to it watches.
  [[nodiscard]] bool keeps_links() const override { return true; }
  [[nodiscard]] Statistics past() const override { return past_; }
  std::map<std::string, Statistics> all_statistics() override;
  void leave(const Statistics& statistics) override;
  void suspend(const Statistics& statistics, std::optional<double> expires) override;
  bool is_orphaned() override;

 private:
  struct Outgoing {
    std::string id, to, payload;
    double stamp;
    bool broadcast;
  };
  enum class Attempt { done, gone, full, busy };

  void claim();
  [[nodiscard]] bool is_there_or_tells(std::string& why);
  [[nodiscard]] std::optional<PeerRow> row_of(const std::string& id);
  [[nodiscard]] Attempt try_send(const Outgoing& message, std::string& why);
  [[nodiscard]] bool is_known_alive(const std::string& peer) const;
  [[nodiscard]] bool has_room(const std::string& id, std::size_t size, std::string& why);
  void insert(const std::string& id, const std::string& from, const std::string& to, double stamp,
              bool broadcast, const std::string& payload, std::int64_t& made);
  void let_sender_exist();
  void flush_outbox();
  /// Returns whether there was something. `everything`: until nothing is left, messages put back too.
  bool take_in(bool everything);
  void take_row(const Values& row);
  void take_rows(const Values& ids);
  void remove_finished();
  void remove_messages(const std::vector<std::string>& ids);
  void on_news();
  void watch_rows();
  void look_at_peers();
  void note_break(const std::string& why);
  void try_again_later();
  void clear_dead(const PeerRow& row);
  /// What an anonymous member has counted; it has no other row.
  void leave_counts(const Statistics& statistics);
  void go(const std::string& statement, const Values& given, const Statistics& statistics, bool wipe);
  void close();
  template <class Call>
  auto patiently(Call&& call);

  transport::JoinRequest request_;
  Loop& loop_;
  transport::Receiver& receiver_;
  std::unique_ptr<Store> store_;
  std::string id_;
  bool joined_ = false;
  bool receiving_ = true;
  bool watches_all_ = false;
  bool watches_rows_ = false;
  bool somebody_died_ = false;
  bool keeps_put_back_ = false;
  bool sender_exists_ = false;
  bool broken_ = false;
  Statistics past_;
  double last_stamp_ = 0;

  std::map<std::string, std::string> delivered_;  // by the id as it was handed on; as the table has it
  std::vector<std::string> finished_;             // dealt with, and still in the table, as that has them
  std::set<std::string> put_back_;                // as the table has them; not before the next drain()
  std::map<std::string, unsigned> forgone_;  // put back before they were acknowledged: those words are void
  std::vector<Message> kept_;                // put back by an anonymous member, which has no rows
  std::deque<Outgoing> outbox_;              // while somebody else has the database locked
  struct Room {
    std::size_t messages = 0, bytes = 0;
  };
  std::map<std::string, Room> room_;  // what may be sent before it is counted again, by id
  /// Somebody we have sent to, alive when we looked.
  struct Link {
    Pid pid = 0;
    os::UniqueFd process;  // on this machine
  };
  std::map<std::string, Link> links_;  // whom we have sent to
  std::vector<PeerRow> known_;         // as last seen, while they are watched
  transport::ForeignWatch processes_;
  Watch soon_, retry_;
  std::chrono::milliseconds retry_in_{1};
};

/// Kept for one receiver at most; more are refused.
inline constexpr std::int64_t kMostMessages = 100'000, kMostBytes = 128L * 1024 * 1024;

}  // namespace ipcm::database
