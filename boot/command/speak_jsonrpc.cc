// speak "jsonrpc": one long-lived program that speaks JSON-RPC 2.0 on stdin and stdout, such as a language server. Many
// requests are open at the same time, and answers come in any order.
//
//     down → greeting (the handshake) → serving → (the program ends) → down …
//
// The program can't tell who has asked: the service gives each request an id of its own, and never gives one twice.

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "command/jsonrpc/framing.h"
#include "command/jsonrpc/incoming.h"
#include "command/jsonrpc/messages.h"
#include "command/jsonrpc/subscriptions.h"
#include "command/jsonrpc/wish.h"
#include "command/kept_program.h"
#include "command/speaker.h"
#include "command/waiting_requests.h"
#include "ipcm/error.h"
#include "launch/explain.h"
#include "wire/parsed_content.h"
#include "wire/printable.h"

namespace ipcm::command {
namespace {

using State = KeptProgram::State;
using jsonrpc::Incoming;
using jsonrpc::Wish;

constexpr std::size_t kMostUnwritten = 128UL * 1024 * 1024;

std::string shown(std::string_view text) {
  constexpr std::size_t kMost = 200;
  return "'" + wire::printable(text, kMost) + "'";
}

class JsonRpc final : public Speaker {
 public:
  explicit JsonRpc(Host& host)
      : host_(host),
        plan_(host.plan()),
        kept_(host, Program::Stdin::pipe, [this](const std::string& why) { lost(why); }),
        reader_(plan_.framing, plan_.max_output),
        waiting_(plan_.queue) {}

  void start() override {
    host_.watch_peers();
    kept_.start();
  }

  bool is_ready() override {
    if (kept_.state() == State::failed) throw Error(kept_.why());
    if (!start_failure_.empty()) throw Error(start_failure_);
    return has_served_;
  }

  void receive(Request&& request) override {
    try {
      const Wish wish = jsonrpc::read_wish(request.raw());
      if (wish.kind != Wish::Kind::call) return host_.answer(request, subscribe(request.from(), wish));
      if (phase_ == Phase::serving) return give(std::move(request), wish);
    } catch (const Error& error) {
      return host_.fail(request, error.what());
    }
    if (kept_.state() == State::over) return host_.fail(request, kept_.why());
    if (!waiting_.put(request)) host_.fail(request, waiting_.refusal());
  }

  void on_message(const Message& message) override {
    if (wire::classify(message.content).meaning == wire::Meaning::terminate) return;
    std::string why;
    try {
      const Wish wish = jsonrpc::read_wish(message.content);
      if (wish.kind != Wish::Kind::call)
        why = "to subscribe or unsubscribe is a request";
      else if (phase_ != Phase::serving)
        why = naming(plan_) + " is being started again";
      else if (!has_room(message.content.size()))
        why = unread();
      else
        return tell(jsonrpc::call_text(std::nullopt, wish.quoted, wish.params));
    } catch (const Error& error) {
      why = error.what();
    }
    host_.complain("a message of '" + wire::printable_name(message.from) + "' was dropped: " + why);
  }

  void on_peers(const std::map<std::string, int>& changes) override {
    for (const auto& [peer, change] : changes)
      if (change < 0) subscriptions_.forget(peer);
  }

  void process() override {
    take_output();  // also the last answers of a program that has ended
    kept_.process();
    if (kept_.state() == State::ready && phase_ == Phase::down) begin_greeting();
    if (std::exchange(is_late_, false)) look_at_time();
    while (phase_ == Phase::serving && !waiting_.empty()) receive(waiting_.take());
    if (kept_.state() != State::over) return;
    while (!waiting_.empty()) host_.fail(waiting_.take(), kept_.why());
    host_.end_service(kept_.status() ? kept_.status()->shell_status() : 0);
  }

 private:
  enum class Phase { down, greeting, serving };
  /// A message to the program that expects a result.
  struct Open {
    std::optional<Request> request;  // none: it belongs to the handshake
    std::string method;
    os::Clock::time_point due;
  };
  /// A request of the program that a peer answers.
  struct Question {
    std::string id;  // as JSON
    std::string peer, method;
    os::Clock::time_point due;
  };

  // ---- To the program

  void give(Request&& request, const Wish& wish) {
    if (open_.size() >= plan_.queue)
      return host_.fail(request,
                        "the queue is full: " + std::to_string(open_.size()) +
                            " requests are open; ask again later, or start the service with a longer "
                            "queue");
    if (!has_room(request.raw().size())) return host_.fail(request, unread());
    const std::uint64_t id = next_id_++;
    std::string text = jsonrpc::call_text(id, wish.quoted, wish.params);
    Request address({}, {}, {});  // without the content, which may be large
    address.assign_address(request);
    open_.emplace(id, Open{std::move(address), std::string(wish.method), os::from_now(plan_.timeout)});
    limit();
    tell(std::move(text));
  }

  [[nodiscard]] bool has_room(std::size_t size) {
    const std::size_t waits = kept_.program().unwritten();
    return waits == 0 || waits + size <= kMostUnwritten;
  }
  [[nodiscard]] std::string unread() {
    return naming(plan_) + " does not read its stdin: " + std::to_string(kept_.program().unwritten()) +
           " bytes wait for it";
  }

  void tell(std::string text) {
    if (kept_.state() != State::ready) return;
    if (!has_room(text.size()) && kept_.program().unwritten() > kMostUnwritten)
      return give_up(unread().substr(naming(plan_).size() + 1));
    kept_.program().write(jsonrpc::framed(std::move(text), plan_.framing));
  }

  // ---- The handshake

  void begin_greeting() {
    phase_ = Phase::greeting;
    reader_ = jsonrpc::FrameReader(plan_.framing, plan_.max_output);
    greeted_ = 0;
    greet();
    take_output();
  }

  /// Sends the next messages, up to one that expects a result.
  void greet() {
    while (phase_ == Phase::greeting && greeted_ < plan_.handshake.size()) {
      const jsonrpc::Greeting& next = plan_.handshake[greeted_++];
      if (!next.expects_result) {
        tell(jsonrpc::call_text(std::nullopt, next.quoted, next.params));
        continue;
      }
      const std::uint64_t id = next_id_++;
      open_.emplace(id, Open{std::nullopt, next.method, os::from_now(plan_.timeout)});
      limit();
      return tell(jsonrpc::call_text(id, next.quoted, next.params));
    }
    if (phase_ != Phase::greeting) return;
    phase_ = Phase::serving;
    has_served_ = true;
  }

  // ---- From the program

  void take_output() {
    if (kept_.state() != State::ready || phase_ == Phase::down) return;
    Program& program = kept_.program();
    if (program.output().empty()) return look_at_end(program);
    try {
      while (const auto step = reader_.next(program.output())) {
        if (!step->message.empty()) take_text(step->message);
        if (kept_.state() != State::ready) return;  // it was given up
        program.drop_output(step->size);
      }
    } catch (const Error& error) {
      give_up(error.what());
    }
  }

  void take_text(std::string_view text) {
    std::vector<std::string_view> members;
    try {
      members = jsonrpc::members_of(text);
    } catch (const ProtocolError& error) {
      // Many programs print a banner; it belongs into the log.
      if (plan_.framing == jsonrpc::Framing::lines && text.front() != '{' && text.front() != '[') {
        const std::string line = std::string(text) + "\n";
        host_.output_log().write(line);
        return kept_.program().note_words(line);
      }
      // No answer: a program that answers each error with another one would go on for ever.
      return host_.complain(naming(plan_) + " sent no JSON: " + shown(text) + ": " + error.what());
    }
    if (members.empty()) host_.complain(naming(plan_) + " sent an empty batch");
    for (const std::string_view member : members) {
      if (kept_.state() != State::ready) return;
      take(jsonrpc::read_incoming(member));
    }
  }

  void take(const Incoming& incoming) {
    switch (incoming.kind) {
      case Incoming::Kind::request:
        return take_question(incoming);
      case Incoming::Kind::notification:
        return publish(incoming);
      case Incoming::Kind::result:
      case Incoming::Kind::error:
        return settle(incoming);
      case Incoming::Kind::invalid:
        break;
    }
    host_.complain(naming(plan_) + " sent no message of JSON-RPC: " + shown(incoming.text) + ": " +
                   incoming.why);
    if (incoming.number && open_.contains(*incoming.number))
      settle(incoming);
    else if (!incoming.id.empty())
      tell(jsonrpc::error_text(incoming.id, jsonrpc::error_object(jsonrpc::kInvalidRequest, incoming.why)));
  }

  void settle(const Incoming& incoming) {
    const auto found = incoming.number ? open_.find(*incoming.number) : open_.end();
    if (found == open_.end()) {
      const bool is_late = incoming.number && *incoming.number > 0 && *incoming.number < next_id_;
      if (!is_late)
        host_.complain(naming(plan_) + " sent an answer with an unknown id: " + shown(incoming.text));
      return;
    }
    const Open open = std::move(found->second);
    open_.erase(found);
    const bool is_invalid = incoming.kind == Incoming::Kind::invalid;
    const std::string failure = is_invalid ? naming(plan_) + " sent no valid answer: " + incoming.why
                                : incoming.kind == Incoming::Kind::error
                                    ? jsonrpc::content_of(incoming.payload).take_json()
                                    : std::string();
    if (open.request) {
      if (failure.empty())
        host_.answer(*open.request, jsonrpc::content_of(incoming.payload));
      else
        host_.fail(*open.request, failure);
    } else if (failure.empty()) {
      greet();
    } else {
      give_up("refused '" + wire::printable_name(open.method) + "' of the handshake: " + failure);
    }
  }

  /// A program that ends closes its stdout first; its exit status says more.
  void look_at_end(Program& program) {
    constexpr auto kTimeToEnd = std::chrono::seconds(1);
    if (!program.has_closed_output() || program.has_ended()) return;
    if (is_closed_) return give_up("has closed its stdout");
    if (!closing_timer_)
      closing_timer_ = host_.loop().at(os::from_now(kTimeToEnd), [this] {
        is_closed_ = true;
        host_.wake();
      });
  }

  // ---- Subscribers

  Content subscribe(const std::string& peer, const Wish& wish) {
    if (wish.kind == Wish::Kind::unsubscribe) return subscriptions_.remove(peer, wish.method);
    if (!host_.has_peer(peer))
      throw UsageError(
          "'" + wire::printable_name(peer) +
          "' can't subscribe: it is no peer of the bus that can get messages; connect with a name");
    subscriptions_.add(peer, wish.method, wish.answers);
    return true;
  }

  void publish(const Incoming& incoming) {
    std::optional<Content> content;
    for (const std::string& peer : subscriptions_.of(incoming.method)) {
      if (!content) content = jsonrpc::call_content(incoming);
      std::string why;
      if (host_.tell(peer, *content, why)) continue;
      host_.complain("a notification for '" + wire::printable_name(peer) + "' was dropped: " + why);
      if (!host_.has_peer(peer)) subscriptions_.forget(peer);
    }
  }

  void take_question(const Incoming& incoming) {
    const std::string peer = subscriptions_.answerer(incoming.method);
    if (peer.empty())
      return refuse(incoming.id, jsonrpc::kMethodNotFound, "nobody answers " + shown(incoming.method));
    if (asked_ >= plan_.queue)
      return refuse(incoming.id, jsonrpc::kServerError,
                    std::to_string(asked_) + " requests are open, the most that are possible (queue)");
    const std::uint64_t number = next_question_++;
    ++asked_;
    try {
      host_.ask(peer, jsonrpc::call_content(incoming), [this, number](const Response& response) {
        --asked_;
        answer_question(number, response);
      });
    } catch (const Error& error) {
      --asked_;
      return refuse(incoming.id, jsonrpc::kServerError, error.what());
    }
    questions_.emplace(
        number, Question{std::string(incoming.id), peer, incoming.method, os::from_now(plan_.timeout)});
    limit();
  }

  void answer_question(std::uint64_t number, const Response& response) {
    const auto found = questions_.find(number);
    if (found == questions_.end()) return;  // too late
    const Question question = std::move(found->second);
    questions_.erase(found);
    if (response.ok() && response.content().is_bytes())
      return refuse(question.id, jsonrpc::kServerError, "the answer is bytes");
    tell(response.ok() ? jsonrpc::result_text(question.id, response.content().json())
                       : jsonrpc::error_text(question.id, jsonrpc::error_from_peer(response.error())));
  }

  void refuse(std::string_view id, int code, const std::string& why) {
    tell(jsonrpc::error_text(id, jsonrpc::error_object(code, why)));
  }

  // ---- Time

  /// One timer for all: ids and questions become due in their order. It runs on after an answer.
  void limit() {
    if (plan_.timeout == kNoLimit || timer_) return;
    auto due = open_.empty() ? os::Clock::time_point::max() : open_.begin()->second.due;
    if (!questions_.empty()) due = std::min(due, questions_.begin()->second.due);
    timer_ = host_.loop().at(due, [this] {
      is_late_ = true;
      host_.wake();
    });
  }

  void look_at_time() {
    timer_.stop();
    const auto now = os::Clock::now();
    while (!open_.empty() && open_.begin()->second.due <= now) {
      const Open open = std::move(open_.begin()->second);
      open_.erase(open_.begin());
      std::string what = "did not answer '" + wire::printable_name(open.method) + "'";
      if (!open.request) what.append(" of the handshake");
      what.append(" within ").append(launch::readable_span(plan_.timeout)).append(" (timeout)");
      if (!open.request) return give_up(what);
      host_.fail(*open.request, naming(plan_).append(" ").append(what));
    }
    while (!questions_.empty() && questions_.begin()->second.due <= now) {
      const Question question = std::move(questions_.begin()->second);
      questions_.erase(questions_.begin());
      refuse(question.id, jsonrpc::kServerError,
             "'" + wire::printable_name(question.peer) + "' did not answer '" +
                 wire::printable_name(question.method) + "' within " + launch::readable_span(plan_.timeout) +
                 " (timeout)");
    }
    if (!open_.empty() || !questions_.empty()) limit();
  }

  // ---- The end of the program

  void give_up(const std::string& why) {
    kept_.give_up(naming(plan_) + " " + why + ", and was ended" + kept_.program().last_words());
  }

  /// Requests that wait go to the next program; they fail if that does not come to serve.
  void lost(const std::string& why) {
    host_.complain(why);
    const bool has_served = std::exchange(phase_, Phase::down) == Phase::serving;
    timer_.stop();
    closing_timer_.stop();
    is_late_ = is_closed_ = false;
    questions_.clear();
    for (const auto& [id, open] : std::exchange(open_, {}))
      if (open.request) host_.fail(*open.request, why);
    if (!has_served_)
      start_failure_ = why;
    else if (!has_served)
      while (!waiting_.empty()) host_.fail(waiting_.take(), why);
  }

  Host& host_;
  const Plan& plan_;
  KeptProgram kept_;
  jsonrpc::FrameReader reader_;
  jsonrpc::Subscriptions subscriptions_;
  WaitingRequests waiting_;
  Phase phase_ = Phase::down;
  std::size_t greeted_ = 0;  // messages of the handshake
  bool has_served_ = false;  // any program
  std::string start_failure_;
  std::map<std::uint64_t, Open> open_;
  std::map<std::uint64_t, Question> questions_;
  std::uint64_t next_id_ = 1, next_question_ = 1;
  std::size_t asked_ = 0;  // requests to peers without an answer, also those of which nobody waits any more
  Watch timer_, closing_timer_;
  bool is_late_ = false, is_closed_ = false;
};

}  // namespace

std::unique_ptr<Speaker> speak_jsonrpc(Host& host) { return std::make_unique<JsonRpc>(host); }

}  // namespace ipcm::command
