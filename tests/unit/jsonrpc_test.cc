// The pure parts of speak "jsonrpc": framing, messages, and subscriptions.

#include <string>
#include <vector>

#include "command/jsonrpc/framing.h"
#include "command/jsonrpc/greeting.h"
#include "command/jsonrpc/incoming.h"
#include "command/jsonrpc/messages.h"
#include "command/jsonrpc/subscriptions.h"
#include "command/jsonrpc/wish.h"
#include "ipcm/error.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using namespace ipcm::command::jsonrpc;
using ipcm::test::contains;
using ipcm::test::error_of;

namespace {

constexpr std::size_t kMost = 1000;

/// Feeds a stream byte by byte, and returns its messages.
std::vector<std::string> messages_in(const std::string& stream, Framing framing) {
  FrameReader reader(framing, kMost);
  std::vector<std::string> all;
  std::string waiting;
  for (const char c : stream) {
    waiting.push_back(c);
    while (const auto step = reader.next(waiting)) {
      if (!step->message.empty()) all.emplace_back(step->message);
      waiting.erase(0, step->size);
    }
  }
  return all;
}

std::string broken(const std::string& stream, Framing framing = Framing::content_length) {
  return error_of<Error>([&] { (void)messages_in(stream, framing); });
}

std::string refused(const std::string& wish) {
  return error_of<UsageError>([&] { (void)read_wish(Content::json(wish)); });
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("jsonrpc: lines are messages, and blank lines are none") {
  CHECK(messages_in("{}\r\n\n [1] \nrest", Framing::lines) == Names{"{}", "[1]"});
  CHECK(framed("{\n\"a\":1}", Framing::lines) == "{ \"a\":1}\n");
  CHECK(messages_in(std::string(kMost, 'x') + "\n", Framing::lines).size() == 1);
  CHECK(contains(broken(std::string(kMost + 1, 'x'), Framing::lines), "more than 1000 bytes (max_output)"));
}

TEST_CASE("jsonrpc: messages follow a header with their length") {
  CHECK(framed("{}", Framing::content_length) == "Content-Length: 2\r\n\r\n{}");
  const std::string two =
      "Content-Length: 2\r\n\r\n{}"
      "content-type: application/vscode-jsonrpc; charset=utf-8\r\nCONTENT-LENGTH:3\r\n\r\n[1]"
      "Content-Length: 0\r\n\r\n";
  CHECK(messages_in(two, Framing::content_length) == Names{"{}", "[1]"});
}

TEST_CASE("jsonrpc: a header against the rules is an error") {
  CHECK(contains(broken("Server 1.0 is up\n"), "does not end with \\r\\n: 'Server 1.0 is up'"));
  CHECK(contains(broken("Server up\r\n"), "no line of a header"));
  CHECK(contains(broken("X: 1\r\n\r\n"), "no Content-Length"));
  CHECK(contains(broken("Content-Length: -1\r\n\r\n"), "no number: '-1'"));
  CHECK(contains(broken("Content-Length: 99999999999999999999999\r\n\r\n"), "no number"));
  CHECK(contains(broken("Content-Length: 1001\r\n\r\n"), "max_output"));
  CHECK(contains(broken("Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), "twice"));
  CHECK(contains(broken("Content-Type: text; charset=latin1\r\n"), "'latin1' is not supported"));
  CHECK(contains(broken(std::string(5000, 'x')), "more than 4096 bytes"));
  CHECK(contains(broken([] {
                   std::string many;
                   for (int i = 0; i < 1000; ++i) many += "X: 1\r\n";
                   return many;
                 }()),
                 "more than 4096 bytes"));
}

TEST_CASE("jsonrpc: a request of the bus is a call or a subscription") {
  const Content content = Content::json(R"({"params":{"a": 1.0},"method":"a\/b"})");
  const Wish call = read_wish(content);
  CHECK(call.kind == Wish::Kind::call);
  CHECK(call.method == "a/b");
  CHECK(call_text(7, call.quoted, call.params) ==
        R"({"jsonrpc":"2.0","id":7,"method":"a\/b","params":{"a": 1.0}})");
  CHECK(call_text(std::nullopt, call.quoted, {}) == R"({"jsonrpc":"2.0","method":"a\/b"})");
  const Wish subscribe = read_wish(Content::json(R"({"subscribe":"*","answers":true})"));
  CHECK(subscribe.kind == Wish::Kind::subscribe);
  CHECK(subscribe.answers);
  CHECK(read_wish(Content::json(R"({"unsubscribe":"x"})")).kind == Wish::Kind::unsubscribe);
  CHECK(read_wish(Content::json(R"({"method":"x","params":null})")).params.empty());
}

TEST_CASE("jsonrpc: other requests of the bus are refused, with the nearest key") {
  CHECK(contains(refused("[1]"), "no object"));
  CHECK(contains(refused(R"({"metod":"x"})"), "'metod' (did you mean 'method'?)"));
  CHECK(contains(refused(R"({"method":"x","id":1})"), "the service adds it"));
  CHECK(contains(refused("{}"), "exactly one of the keys"));
  CHECK(contains(refused(R"({"method":"x","subscribe":"y"})"), "exactly one of the keys"));
  CHECK(contains(refused(R"({"method":5})"), "name of a method"));
  CHECK(contains(refused(R"({"method":""})"), "name of a method"));
  CHECK(contains(refused(R"({"method":"x","params":5})"), "an object or an array"));
  CHECK(contains(refused(R"({"subscribe":"x","params":{}})"), "goes with 'method' only"));
  CHECK(contains(refused(R"({"subscribe":"x","answers":1})"), "true or false"));
  CHECK(contains(error_of<UsageError>([] { (void)read_wish(Content::bytes("x")); }), "bytes"));
}

TEST_CASE("jsonrpc: an entry of the handshake expects a result if it has an id") {
  const auto entry = [](const char* json) { return read_greeting(Content::json(json)); };
  CHECK(entry(R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"x":1}})").expects_result);
  const Greeting note = entry(R"({"method":"initialized"})");
  CHECK_FALSE(note.expects_result);
  CHECK(note.params.empty());
  CHECK(contains(error_of<UsageError>([&] { (void)entry(R"({"methd":"x"})"); }), "did you mean 'method'"));
  CHECK(contains(error_of<UsageError>([&] { (void)entry(R"({"id":1})"); }), "no method"));
  CHECK(contains(error_of<UsageError>([&] { (void)entry("1"); }), "no object"));
}

TEST_CASE("jsonrpc: messages of a program are told apart") {
  using Kind = Incoming::Kind;
  const Incoming result = read_incoming(R"({"id":12,"result": {"a" : "\u00e4"},"error":null})");
  CHECK(result.kind == Kind::result);
  CHECK(result.number == 12U);
  CHECK(result.payload == R"({"a" : "\u00e4"})");
  const Incoming error = read_incoming(R"({"error":{"code":-1,"message":"m"},"id":"a"})");
  CHECK(error.kind == Kind::error);
  CHECK(error.id == "\"a\"");
  CHECK_FALSE(error.number);
  CHECK(read_incoming(R"({"id":1,"result":null})").kind == Kind::result);
  CHECK(read_incoming(R"({"id":"1","method":"m"})").kind == Kind::request);
  const Incoming note = read_incoming(R"({"method":"m","params":[ 1 ]})");
  CHECK(note.kind == Kind::notification);
  CHECK(call_content(note).json() == R"({"method":"m","params":[ 1 ]})");
  for (const char* invalid : {"1", "[]", "{}", R"({"id":1})", R"({"method":5})", R"({"id":[1],"method":"m"})",
                              R"({"method":"m","params":5})", R"({"id":1,"id":2,"result":3})"})
    CHECK(read_incoming(invalid).kind == Kind::invalid);
  CHECK_FALSE(read_incoming(R"({"id":-1,"result":3})").number);
  CHECK_FALSE(read_incoming(R"({"id":1.5,"result":3})").number);
}

TEST_CASE("jsonrpc: a batch has members, and other values are no messages") {
  using Slices = std::vector<std::string_view>;
  CHECK(members_of(R"({"a":[1,{"b":2}],"c":3})") == Slices{R"({"a":[1,{"b":2}],"c":3})"});
  CHECK(members_of(R"([{"a":[1]}, 5,[] ])") == Slices{R"({"a":[1]})", "5", "[]"});
  CHECK(members_of("[]").empty());
  for (const char* none : {"5", "\"x\"", "null", "{", "[1", "{} {}", "Server is up"})
    CHECK_FALSE(error_of<ProtocolError>([&] { (void)members_of(none); }).empty());
}

TEST_CASE("jsonrpc: errors of peers reach the program as error objects") {
  CHECK(error_from_peer(R"({"code":5,"message":"m","data":[1]})") ==
        R"({"code":5,"message":"m","data":[1]})");
  CHECK(error_from_peer("no \"way\"") == R"({"code":-32000,"message":"no \"way\""})");
  CHECK(error_from_peer("{}") == R"({"code":-32000,"message":"{}"})");
  CHECK(error_text("\"a\"", error_object(kMethodNotFound, "m")) ==
        R"({"jsonrpc":"2.0","id":"a","error":{"code":-32601,"message":"m"}})");
  CHECK(result_text("1", "[1]") == R"({"jsonrpc":"2.0","id":1,"result":[1]})");
  CHECK(content_of("\"ä\"").json() == R"("\u00e4")");
}

TEST_CASE("jsonrpc: subscribers get the methods that they want, each notification once") {
  Subscriptions all;
  all.add("a", "m", false);
  all.add("a", "*", false);
  all.add("b", "m", true);
  CHECK(all.of("m") == Names{"a", "b"});
  CHECK(all.of("other") == Names{"a"});
  CHECK(all.answerer("m") == "b");
  CHECK(all.answerer("other").empty());
  CHECK(contains(error_of<UsageError>([&] { all.add("c", "m", true); }), "'b' answers requests"));
  all.add("c", "*", true);
  CHECK(all.answerer("other") == "c");
  CHECK(all.answerer("m") == "b");
  all.forget("b");
  CHECK(all.answerer("m") == "c");
  CHECK(all.remove("a", "m"));
  CHECK_FALSE(all.remove("a", "m"));
  CHECK(all.of("m") == Names{"a", "c"});
}

TEST_CASE("jsonrpc: the number of subscriptions is bounded") {
  Subscriptions all;
  const auto fill = [&] {
    for (int i = 0; i < 20'000; ++i) all.add("a", "m" + std::to_string(i), false);
  };
  CHECK(contains(error_of<UsageError>(fill), "10000 subscriptions"));
  all.add("a", "m0", true);  // no new one
  all.forget("a");
  all.add("b", "m", false);
  CHECK(all.of("m") == Names{"b"});
}
