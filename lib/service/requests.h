#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bus/member.h"
#include "ipcm/requester.h"
#include "loop/recovery.h"
#include "wire/conversation.h"

namespace ipcm::service {

/// The open requests of one member, and what came of them.
///
/// A request is bound to the process that got it. When the way to a peer ends or its process does, what it
/// has sent is taken in to the last byte; then its open requests fail. Where the bus keeps messages, a
/// request outlives that process: it waits for a peer that suspended, and for one that came back as another
/// process. Callbacks run from process(), never inside the loop.
class Requests : public std::enable_shared_from_this<Requests> {
 public:
  using IncomingRequests = bus::Member::IncomingRequests;
  Requests(std::shared_ptr<bus::Member> member, IncomingRequests incoming);
  ~Requests();
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;

  /// For the time of a call: a callback may destroy the owner of this object.
  [[nodiscard]] std::shared_ptr<Requests> hold() { return shared_from_this(); }
  /// The owner ends. No callback runs any more; calls that still wait throw UsageError.
  void close() noexcept { closed_ = true; }

  std::string send(const std::string& peer, const Content& payload, ResponseCallback callback);
  /// nullopt: not there yet. Throws UsageError for an id that has none, or a callback.
  std::optional<Response> get(const std::string& id);
  Response await(const std::string& id, os::Deadline deadline);
  /// Sends and waits; when the deadline passes, the request is forgotten.
  Response ask(const std::string& peer, const Content& payload, os::Deadline deadline);
  void await_all(os::Deadline deadline);
  [[nodiscard]] bool have_pending() const;

  /// Fails the requests to peers that have gone, and runs the callbacks of requests that have their answer.
  void process();
  /// Whether process() would find something to do, or the inbox holds messages.
  [[nodiscard]] bool has_work() const {
    return member_.has_messages() || !due_.empty() ||
           ((!lost_.empty() || must_look()) && !looking_.is_waiting());
  }
  /// Reads what has arrived, and returns the messages that are no answers.
  [[nodiscard]] std::vector<Message> messages();

  /// Requests to a peer that is being started wait here, until it is ready or has failed.
  void hold(const std::string& peer);
  void let_go(const std::string& peer);
  void fail_held(const std::string& peer, const std::exception_ptr& why);

  /// Called before anything else in process(): where those who are being started are let go, or failed.
  std::function<void()> follow_starts;
  /// How that process of a peer (0: not known which) ended, if it was a child of ours; waits a moment for one
  /// that is just ending.
  std::function<std::optional<ExitStatus>(const std::string& peer, Pid pid)> child_status;

 private:
  struct Open {
    std::string peer;
    ResponseCallback callback;
    std::optional<Response> response;
    std::uint64_t sent_at = 0;  // see Member::sent_at(); kHeld: not yet
    std::uint64_t link = 0;     // see Transport::last_link()
  };
  using OpenRequests = std::map<std::string, Open>;
  struct Watched {
    Pid pid = 0;           // 0: it is not there; awaited until it is, or until its time is up
    os::UniqueFd process;  // empty: only its place on the bus will tell
    // Otherwise the pid is a claim, and the end of that process only a reason to look again.
    bool is_proven = false;
    Watch watch;  // of its process, or of its time
  };
  struct Held {
    std::string id;
    Content payload;
  };

  /// What waits for an answer here. Throws UsageError for an id that has none, or a callback.
  [[nodiscard]] OpenRequests::iterator open(const std::string& id);
  /// `open` is answered.
  Response hand_out(OpenRequests::iterator open);
  /// What was asked of one that has ended meanwhile is not to be mixed up with what its successor is asked.
  void part_from_predecessor(const std::string& peer);
  void transmit(OpenRequests::iterator open, const std::string& id, const Content& payload);
  /// What the bus says of a peer; a second time where one look can't tell.
  [[nodiscard]] transport::PeerFacts look(const std::string& peer) { return identify(peer).facts; }
  [[nodiscard]] transport::Transport::Identified identify(const std::string& peer);
  /// From now on its going is noticed. Returns its state; active if it is watched already.
  transport::PeerFacts::State watch(const std::string& peer);
  /// Whether the bus has changed since we looked whether those whom we have asked are still there.
  [[nodiscard]] bool must_look() const;
  void look_after_all();
  /// The bus has ended: so do all requests, with the reason.
  void fail_ended();
  void look_after_lost();
  void note_lost(const std::string& peer, std::uint64_t link);
  /// A peer that lives has closed a connection: what it was asked over that one fails.
  void fail_on_closed(const std::string& peer);
  void look_after(const std::string& peer);
  void take_answer(const std::string& from, wire::Conversation& said);
  void answer(const std::string& id, Response response);
  void answer(OpenRequests::iterator open, Response&& response);
  /// Those that were sent before so many ways had been lost; see Member::sent_at().
  static constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();
  void fail_all(const std::string& peer, const std::exception_ptr& why, std::uint64_t sent_before = kAll);
  /// Of a request to somebody who is being started. What becomes of his predecessor is not its concern.
  static constexpr std::uint64_t kHeld = kAll;
  /// Whether an answer is awaited to something that was sent.
  [[nodiscard]] bool asks(const std::string& peer) const;
  void run_due();
  void remember(std::string id, const char* what);
  template <class Done>
  bool wait(Done&& done, os::Deadline deadline);

  void expect_open() const;

  std::shared_ptr<bus::Member> shared_member_;
  bus::Member& member_;
  bool closed_ = false;
  OpenRequests open_;
  std::uint64_t changes_ = 0;  // of them: answered, handed out, given up
  std::deque<std::pair<ResponseCallback, Response>> due_;
  std::uint64_t seen_changes_ = 0;
  bool failed_ended_ = false;
  std::map<std::string, Watched> watched_;
  std::map<std::string, std::uint64_t> lost_at_;  // Member::losses() when the way to one we ask was lost last
  std::set<std::string> lost_;                    // ways or processes that ended since the last look
  struct Closed {
    std::string peer;
    Watch grace;  // its process may be ending, which says more
    bool is_over = false;
  };
  std::map<std::uint64_t, Closed> closed_links_;  // with requests that are open
  Recovery looking_;
  std::map<std::string, std::vector<Held>> held_;
  std::deque<std::pair<std::string, const char*>>
      recent_;  // requests that are over, for better words about a late answer
};

}  // namespace ipcm::service
