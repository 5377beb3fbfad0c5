#include "bridge/bridge.h"

#include <algorithm>
#include <utility>

#include "commands/commands.h"
#include "os/pipe.h"
#include "report.h"
#include "wire/json_text.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

constexpr std::size_t kMostOpen = 4096;
constexpr std::size_t kMuchOutput = 1024UL * 1024;
constexpr int kLinesAtOnce = 64;

}  // namespace

bool Bridge::has_room() const { return channel_.waiting() < kMuchOutput; }

void Bridge::read() {
  if (!has_lines_) channel_.fill();
  has_lines_ = true;
  for (int lines = 0; lines < kLinesAtOnce && has_room() && has_lines_; ++lines) {
    std::string_view line;
    switch (channel_.next(line)) {
      case Channel::Next::none:
        has_lines_ = false;
        break;
      case Channel::Next::line:
        perform(line);
        break;
      case Channel::Next::too_long:
        try {
          throw UsageError("the line is longer than 64 MiB; it was skipped");
        } catch (const Error&) {
          refuse({});
        }
        break;
    }
  }
  channel_.flush();
}

void Bridge::read_rest() {
  constexpr int kMostReads = 64;
  for (int reads = 0; reads < kMostReads && !channel_.has_ended() && os::is_readable(channel_.in()); ++reads)
    channel_.fill();
  for (std::string_view line; channel_.next(line) == Channel::Next::line;) perform(line);
  has_lines_ = false;
  channel_.flush();
}

void Bridge::perform(std::string_view line) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return;
  Echo echo;
  try {
    perform(read_operation(line, echo), echo);
  } catch (const std::exception&) {
    refuse(echo);
  }
}

void Bridge::perform(const Operation& operation, const Echo& echo) {
  using Kind = Operation::Kind;
  switch (operation.kind) {
    case Kind::request:
      return ask(operation, echo);
    case Kind::send:
      try {
        const std::string id = side_.client().send_message(operation.to, operation.content);
        if (!echo.id.empty()) tell(begin("done", echo).text("message", id));
      } catch (const PeerGone& gone) {
        suggest_peer(gone, side_.client());
      }
      return;
    case Kind::broadcast: {
      const BroadcastResult result = side_.client().broadcast(operation.content);
      if (echo.id.empty()) return;
      std::string failed = "{";
      for (const auto& [peer, why] : result.failed)
        failed.append(failed.size() > 1 ? "," : "")
            .append(wire::json_string(peer, wire::BrokenUtf8::replaced) + ":" +
                    wire::json_string(why, wire::BrokenUtf8::replaced));
      tell(begin("done", echo)
               .names("sent", result.sent)
               .names("left", result.left)
               .json("failed", failed + "}"));
      return;
    }
    case Kind::answer:
    case Kind::error:
      return answer(operation, echo);
    case Kind::peers:
      tell(begin("done", echo).names("peers", side_.client().peers()));
      return;
    case Kind::watch:
      side_.watch_peers();
      return done(echo);
    case Kind::ready:
      side_.ready();
      return done(echo);
    case Kind::fail:
      return side_.fail(operation.error);
    case Kind::suspend:
      side_.suspend(operation.expires);
      forget_requests("the bridge has left the bus for a while, before the answer came");
      return done(echo);
    case Kind::reconnect:
      side_.reconnect();
      return done(echo);
    case Kind::leave:
      return side_.leave(operation.status);
  }
}

void Bridge::ask(const Operation& operation, const Echo& echo) {
  if (asked_.size() >= kMostOpen)
    throw UsageError("4096 requests are open; wait for an answer before the next request");
  const std::uint64_t key = ++last_asked_;
  Asked& asked = asked_[key];
  asked = {echo.id, operation.to, {}, {}};
  try {
    asked.sent = side_.client().send_request(operation.to, operation.content,
                                             [this, key](const Response& response) { got(key, response); });
  } catch (const PeerGone& gone) {
    asked_.erase(key);
    suggest_peer(gone, side_.client());
  } catch (...) {
    asked_.erase(key);
    throw;
  }
  const Duration limit = operation.timeout.value_or(limit_);
  if (limit == kNoLimit) return;
  asked.deadline = os::from_now(limit);
  deadlines_.emplace(*asked.deadline, key);
  if (!armed_ || *asked.deadline < *armed_) arm(*asked.deadline);
}

void Bridge::flush() {
  channel_.flush();
  side_.after_writing();
}

void Bridge::arm(os::Clock::time_point deadline) {
  armed_ = deadline;
  timer_.arm(deadline);
}

std::optional<Bridge::Asked> Bridge::close(std::uint64_t key) {
  const auto found = asked_.find(key);
  if (found == asked_.end()) return std::nullopt;
  Asked asked = std::move(found->second);
  asked_.erase(found);
  if (asked.deadline) {
    const auto [first, last] = deadlines_.equal_range(*asked.deadline);
    const auto at = std::find_if(first, last, [key](const auto& entry) { return entry.second == key; });
    if (at != last) deadlines_.erase(at);
  }
  return asked;
}

void Bridge::got(std::uint64_t key, const Response& response) {
  const auto asked = close(key);
  if (!asked) return;
  const Echo echo{asked->id, "request"};
  try {
    const Content& content = response.content();  // throws if there is none
    tell(begin("response", echo).text("from", response.from()).content(content));
  } catch (const std::exception&) {
    refuse(echo);
  }
  flush();
}

void Bridge::time_out() {
  timer_.acknowledge();
  armed_.reset();
  while (!deadlines_.empty() && deadlines_.begin()->first <= os::Clock::now()) {
    const auto asked = close(deadlines_.begin()->second);
    if (!asked) continue;
    try {
      side_.client().forget_request(asked->sent);
      throw Timeout("'" + wire::printable_name(asked->peer) + "' has not answered in time");
    } catch (const Error&) {
      refuse({asked->id, "request"});
    }
  }
  if (!deadlines_.empty()) arm(deadlines_.begin()->first);
  flush();
}

void Bridge::forget_requests(const std::string& why) {
  while (!asked_.empty()) {
    const auto asked = close(asked_.begin()->first);
    try {
      throw BusError(why);
    } catch (const Error&) {
      refuse({asked->id, "request"});
    }
  }
}

void Bridge::answer(const Operation& operation, const Echo& echo) {
  const auto found = owed_.find(operation.request);
  if (found == owed_.end())
    throw UsageError(
        "there is no open request " + std::to_string(operation.request) +
        (operation.request <= last_owed_ && operation.request > 0 ? "; it was answered already" : ""));
  const bool is_error = operation.kind == Operation::Kind::error;
  try {
    if (is_error)
      side_.answer_error(found->second, operation.error);
    else
      side_.answer(found->second, operation.content);
  } catch (const PeerGone&) {
    owed_.erase(found);  // nobody waits for it
    if (echo.id.empty()) return;
    throw;
  }
  owed_.erase(found);
  done(echo);
}

void Bridge::tell_request(Request&& request) {
  if (owed_.size() >= kMostOpen) {
    side_.answer_error(request, "4096 requests are open in this service; try again later");
    return;
  }
  const std::uint64_t key = ++last_owed_;
  tell(BridgeLine("request")
           .number("request", static_cast<std::int64_t>(key))
           .text("from", request.from())
           .content(request.raw()));
  Request kept({}, {}, {});
  kept.assign_address(request);
  owed_.emplace(key, std::move(kept));
}

void Bridge::tell_message(const Message& message) { tell(BridgeLine::of(message)); }

void Bridge::tell_peers(const std::map<std::string, int>& delta) {
  std::string json = "{";
  for (const auto& [peer, change] : delta)
    json.append(json.size() > 1 ? "," : "")
        .append(wire::json_string(peer, wire::BrokenUtf8::replaced) + ":" + std::to_string(change));
  tell(BridgeLine("peers").json("delta", json + "}"));
}

void Bridge::tell_end(const std::string& why, int status) {
  tell(BridgeLine("end").text("why", why).number("status", status));
}

BridgeLine Bridge::begin(const char* type, const Echo& echo) {
  BridgeLine line(type);
  if (!echo.id.empty()) line.json("id", echo.id);
  return line;
}

void Bridge::done(const Echo& echo) {
  if (!echo.id.empty()) tell(begin("done", echo));
}

void Bridge::refuse(const Echo& echo) {
  const Verdict verdict = understand_error();
  std::string words = verdict.message;
  bool is_taken = false;
  try {
    throw;
  } catch (const RemoteError& error) {
    words = error.what();  // of the service, without the sentence around it
  } catch (const NameTaken&) {
    is_taken = true;
  } catch (...) {
  }
  BridgeLine line = begin("error", echo);
  if (!echo.op.empty()) line.text("op", echo.op);
  if (is_taken) line.json("taken", "true");
  tell(std::move(
      line.text("error", words).text("kind", verdict.kind).number("status", number(verdict.status))));
}

}  // namespace ipcm::launcher
