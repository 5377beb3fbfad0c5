#include "balancer/balancer_service.h"

#include <set>
#include <utility>

#include "balancer/register.h"
#include "ipcm/error.h"
#include "launch/explain.h"
#include "service/diagnostic.h"
#include "service/service_runtime.h"
#include "wire/parsed_content.h"

namespace ipcm::balancer {
namespace {

constexpr double kLongestSpan = 1e8;
/// The time for answers that are on their way when the balancer ends.
constexpr Duration kLastAnswers = std::chrono::seconds(1);

/// The request by which the controller changes the replicas: {"ipcm_balancer":{"replicas":[…]}}.
struct Change {
  struct Replicas {
    std::vector<std::string> replicas;
    template <class Archive>
    void serialize(Archive& archive) {
      archive(cereal::make_nvp("replicas", replicas));
    }
  } to;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::make_nvp("ipcm_balancer", to));
  }
};

bool is_change(const Content& content) {
  return !content.is_bytes() && content.json().starts_with(R"({"ipcm_balancer":)");
}

Duration span_of(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

BalancerService::BalancerService(ServiceSetup setup, const Args& args)
    : Service(std::move(setup)), args_(args) {
  const std::string who = "args of class 'balancer': ";
  if (args_.max_waiting < 1) throw UsageError(who + "max_waiting wants a number above 0");
  if (!(args_.timeout >= 0 && args_.timeout <= kLongestSpan))
    throw UsageError(who + "timeout wants seconds, from 0 to 100000000");
  for (const std::string& replica : args_.replicas)
    if (replica == name()) throw UsageError(who + "replicas has the name of the balancer itself");
  replicas_.set(args_.replicas);
}

void BalancerService::on_start() {
  watch_peers();
  runtime().wake_on_changes_of_bus();
  look_at_replicas();
}

void BalancerService::look_at_replicas() {
  for (const std::string& replica : replicas_.names()) replicas_.note(replica, client().peer_active(replica));
}

bool BalancerService::is_full() const { return waiting_.size() + replicas_.open() >= args_.max_waiting; }

void BalancerService::refuse(const Request& request, const std::string& why) {
  try {
    send_error(request, why);
  } catch (const PeerGone&) {
    // It does not wait any more.
  } catch (const Error& error) {
    service::complain(name(), std::string("an error could not be sent: ") + error.what());
  }
}

Answer BalancerService::take_request(Request&& request) {
  if (request.from() == args_.controller && is_change(request.raw())) {
    change(std::move(request));
    return later;
  }
  if (is_full()) {
    refuse(request, "balancer '" + name() + "' has " + std::to_string(args_.max_waiting) +
                        " requests that are not answered yet, the most that its max_waiting allows");
    return later;
  }
  pass_or_wait({std::move(request), os::from_now(span_of(args_.timeout))});
  return later;
}

void BalancerService::on_general_message(const Message& message) {
  // The replicas get a broadcast themselves.
  if (message.broadcast || wire::classify(message.content).meaning == wire::Meaning::terminate) return;
  Waiting one{message, os::from_now(span_of(args_.timeout))};
  if (is_full())
    fail(one, "too many requests and messages wait");
  else
    pass_or_wait(std::move(one));
}

void BalancerService::pass_or_wait(Waiting&& one) {
  // Those that wait already come first.
  if (waiting_.empty() && pass(one) == Passed::yes) return;
  waiting_.push_back(std::move(one));
  if (waiting_.size() > 1) return pass_waiting();
  timer_ = runtime().loop().at(waiting_.front().until, [this] {
    is_late_ = true;
    runtime().wake();
  });
}

/// Passes a request or a message on to one of the replicas that are there.
BalancerService::Passed BalancerService::pass(const Waiting& one) {
  // One that has just become ready gets requests at once, and one that came back as another process unnoticed.
  for (const std::string& replica : replicas_.absent())
    replicas_.note(replica, client().peer_active(replica));
  std::set<std::string> tried;
  std::string failure;
  while (const auto replica = replicas_.choose(tried)) {
    try {
      pass_to(*replica, one);
      return Passed::yes;
    } catch (const PeerGone&) {
      replicas_.note(*replica, false);
    } catch (const Error& error) {
      failure = error.what();
    }
    tried.insert(*replica);  // it can't have got the request
  }
  if (failure.empty()) return Passed::no_replica;
  fail(one, failure);
  return Passed::yes;
}

void BalancerService::pass_to(const std::string& replica, const Waiting& one) {
  if (const auto* message = std::get_if<Message>(&one.what)) {
    (void)client().send_message(replica, message->content, {.fields = message->fields});
    return;
  }
  const auto& request = std::get<Request>(one.what);
  const Request address(request.id(), request.from(), {}, request.connection());
  (void)send_request(
      replica, request.raw(),
      [this, replica, address](const Response& response) { finish(replica, address, response); },
      {.fields = request.fields()});
  replicas_.begin(replica);
}

void BalancerService::finish(const std::string& replica, const Request& address, const Response& response) {
  replicas_.end(replica);
  if (!changes_.empty()) runtime().wake();
  if (!response.ok()) return refuse(address, response.error());
  try {
    send_response(address, response.content());
  } catch (const PeerGone&) {
    // It does not wait any more.
  } catch (const Error& error) {
    refuse(address, error.what());
  }
}

/// A change of the bus wakes it: those that wait may have a replica now.
void BalancerService::on_activity(const Activity& activity) {
  if (!activity.peer_delta.empty()) look_at_replicas();
  pass_waiting();
  if (std::exchange(is_late_, false)) fail_late();
  answer_changes();
}

void BalancerService::pass_waiting() {
  while (!waiting_.empty() && pass(waiting_.front()) == Passed::yes) waiting_.pop_front();
  if (waiting_.empty()) timer_.stop();
}

void BalancerService::fail_late() {
  const auto now = os::Clock::now();
  while (!waiting_.empty() && waiting_.front().until <= now) {
    fail(waiting_.front(), "no replica was there within " + launch::readable_span(span_of(args_.timeout)));
    waiting_.pop_front();
  }
  if (waiting_.empty()) return;
  timer_ = runtime().loop().at(waiting_.front().until, [this] {
    is_late_ = true;
    runtime().wake();
  });
}

void BalancerService::fail(const Waiting& one, const std::string& why) {
  if (const auto* request = std::get_if<Request>(&one.what))
    refuse(*request, "balancer '" + name() + "' could not pass it on: " + why);
  else
    service::complain(name(), "a message of '" + std::get<Message>(one.what).from + "' is dropped: " + why);
}

void BalancerService::change(Request&& request) {
  try {
    const auto wanted = request.raw().as_strict<Change>("the change").to.replicas;
    for (const std::string& replica : wanted)
      if (replica == name()) throw UsageError("replicas has the name of the balancer itself");
    replicas_.set(wanted);
  } catch (const Error& error) {
    return refuse(request, error.what());
  }
  look_at_replicas();
  changes_.push_back(std::move(request));
  runtime().wake();
}

void BalancerService::answer_changes() {
  if (changes_.empty() || !replicas_.is_drained()) return;
  for (const Request& request : std::exchange(changes_, {})) try {
      send_response(request, true);
    } catch (const Error& error) {
      service::complain(name(), std::string("its controller could not be told: ") + error.what());
    }
}

void BalancerService::on_cleanup() {
  for (const Waiting& one : std::exchange(waiting_, {})) fail(one, "the balancer ends");
  try {
    await_all_responses(kLastAnswers);
  } catch (const Error&) {
    // The requesters learn that the balancer has left.
  }
}

void add_class(Registry& registry) {
  registry.add<BalancerService>("balancer",
                                "passes requests on to replicas of a service; see docs/supervise.md");
}

}  // namespace ipcm::balancer
