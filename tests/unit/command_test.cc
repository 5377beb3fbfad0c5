// The pure parts of the class `command`: its parameters, and the text that programs get and print.

#include <string>

#include "command/arguments.h"
#include "command/notification.h"
#include "command/pattern.h"
#include "command/payload.h"
#include "command/waiting_requests.h"
#include "ipcm/error.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using namespace ipcm::command;
using ipcm::test::contains;
using ipcm::test::error_of;

namespace {

Plan plan_of(const std::string& json) {
  return make_plan(Content::json(json).as_strict<Arguments>("args"), R"(["ConnectionUnix","JSON","/r"])");
}

std::string refusal_of(const std::string& json) {
  return error_of<Error>([&] { (void)plan_of(json); });
}

bool has(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

TEST_CASE("command: parameters become a plan") {
  const Plan plan =
      plan_of(R"({"argv":["/bin/sh","-c","x"],"speak":"lines","jobs":3,"timeout":0.5,"umask":"027",
                               "rlimits":{"core":0,"nofile":[10,"unlimited"]},"nice":-3,"no_new_privs":true})");
  CHECK(plan.program_name == "sh");
  CHECK(plan.spawn.program == "/bin/sh");
  CHECK(plan.spawn.args == std::vector<std::string>{"/bin/sh", "-c", "x"});
  CHECK(plan.speak == Speak::lines);
  CHECK(plan.restart == Restart::always);
  CHECK(plan.jobs == 3);
  CHECK(plan.timeout == std::chrono::milliseconds(500));
  const os::ProcessAttributes& attributes = plan.spawn.attributes;
  CHECK(attributes.new_group);
  CHECK(attributes.ends_with_parent);
  CHECK(attributes.umask == 0027);
  CHECK(attributes.nice == -3);
  CHECK(attributes.no_new_privileges);
  REQUIRE(attributes.limits.size() == 2);
  CHECK(attributes.limits[1].soft == 10);
  CHECK(attributes.limits[1].hard == os::kUnlimited);
  CHECK(has(plan.spawn.env, R"(IPCM_INFO=["ConnectionUnix","JSON","/r"])"));
}

TEST_CASE("command: a shell text is a program of /bin/sh") {
  const Plan plan = plan_of(R"({"shell":"echo 1 | cat","env":{"A":"1","PATH":null}})");
  CHECK(plan.spawn.args == std::vector<std::string>{"/bin/sh", "-c", "echo 1 | cat"});
  CHECK(plan.program_name == "echo 1 | cat");
  CHECK(has(plan.spawn.env, "A=1"));
  for (const std::string& variable : plan.spawn.env) CHECK_FALSE(variable.starts_with("PATH="));
}

TEST_CASE("command: a program is searched in the PATH that it gets") {
  CHECK(plan_of(R"({"argv":["sh"],"env":{"PATH":"/nosuch:/bin"}})").spawn.program == "/bin/sh");
  CHECK(contains(refusal_of(R"({"argv":["sh"],"env":{"PATH":"/nosuch"}})"), "'sh' does not exist"));
}

TEST_CASE("command: NUL characters and wrong names are refused") {
  CHECK(contains(refusal_of(R"({"argv":["sh","a\u0000b"]})"), "NUL"));
  CHECK(contains(refusal_of(R"({"argv":["sh"],"env":{"":"1"}})"), "no name of a variable"));
  CHECK(contains(refusal_of(R"({"argv":[""]})"), "is empty"));
  CHECK(contains(refusal_of(R"({"argv":["sh"],"timeout":1e300})"), "timeout"));
  CHECK(contains(refusal_of(R"({"argv":["sh"],"rlimits":{"core":-1}})"), "core"));
  CHECK(contains(refusal_of(R"({"argv":["sh"],"rlimits":{"core":[1,2,3]}})"), "[soft,hard]"));
}

TEST_CASE("command: a pattern matches a part of a line, also of a long one") {
  CHECK(Pattern("^up$").matches("up"));
  CHECK_FALSE(Pattern("^up$").matches("up and away"));
  CHECK(Pattern("port ([0-9]+)").matches("on port 80"));
  CHECK(Pattern("(a|b)*c$").matches(std::string(100'000, 'a') + "c"));
  CHECK(contains(error_of<Error>([] { (void)Pattern("(a"); }), "regular expression"));
  CHECK(contains(error_of<Error>([] { (void)Pattern(std::string(2000, 'a')); }), "1000 characters"));
}

TEST_CASE("command: notifications are lines of NAME=VALUE, and unknown ones are ignored") {
  const Notification told = parse_notification(
      "READY=1\nSTATUS=a=b\nnoise\nEXTEND_TIMEOUT_USEC=2000\nWATCHDOG_USEC=5\nWATCHDOG=1\nX=1");
  CHECK(told.ready);
  CHECK(told.status == "a=b");
  CHECK(told.more_time == std::chrono::milliseconds(2));
  CHECK(told.watchdog == std::chrono::microseconds(5));
  CHECK(told.alive);
  CHECK_FALSE(told.is_broken);
  CHECK(parse_notification("WATCHDOG=trigger").is_broken);
  const Notification wrong =
      parse_notification("READY=0\nEXTEND_TIMEOUT_USEC=-1\nWATCHDOG_USEC=99999999999999999999");
  CHECK_FALSE(wrong.ready);
  CHECK_FALSE(wrong.more_time);
  CHECK_FALSE(wrong.watchdog);
}

TEST_CASE("command: readiness is a word and its value") {
  CHECK(plan_of(R"({"argv":["sh"],"ready":"port:80"})").ready.number == 80);
  CHECK(plan_of(R"({"argv":["sh"],"ready":"fd:3"})").ready.kind == ReadyWhen::Kind::fd);
  CHECK(plan_of(R"({"argv":["sh"],"ready":"notify:0.5"})").ready.period == std::chrono::milliseconds(500));
  CHECK(plan_of(R"({"argv":["sh"],"ready":"line:a:b"})").ready.text == "a:b");
}

TEST_CASE("command: a request becomes text, with raw without quotes") {
  CHECK(text_for_program(Content::json(R"("a\"\u00e4")"), false) == R"("a\"\u00e4")");
  CHECK(text_for_program(Content::json(R"("a\"\u00e4")"), true) == "a\"ä");
  CHECK(text_for_program(Content::json("[1]"), true) == "[1]");
  CHECK(contains(error_of<Error>([] { (void)text_for_program(Content::bytes("x"), true); }), "bytes"));
}

TEST_CASE("command: a line has no newlines, and a raw text with some is refused") {
  CHECK(line_for_program(Content::json("{\"a\":\r\n1}"), false) == "{\"a\":  1}");
  CHECK(line_for_program(Content::json(R"("a\n")"), false) == R"("a\n")");
  CHECK(line_for_program(Content::json(R"("a b")"), true) == "a b");
  CHECK(contains(error_of<Error>([] { (void)line_for_program(Content::json(R"("a\nb")"), true); }),
                 "several lines"));
}

TEST_CASE("command: output becomes an answer, or an error that quotes it") {
  CHECK(answer_of_program("[1]", false).json() == "[1]");
  CHECK(answer_of_program(" \n[1]\n", false).json() == "[1]");
  CHECK(answer_of_program("\"ä\"\n", false).json() == R"("\u00e4")");
  CHECK(answer_of_program("text\n\n", true).json() == R"("text\n")");
  CHECK(answer_of_program("", true).json() == R"("")");
  CHECK(contains(error_of<Error>([] { (void)answer_of_program("\n", false); }), "printed nothing"));
  CHECK(contains(error_of<Error>([] { (void)answer_of_program("1 2", false); }), "'1 2'"));
  CHECK(contains(error_of<Error>([] { (void)answer_of_program(std::string(10'000, 'x'), false); }),
                 "(10000 bytes)"));
}

TEST_CASE("command: the requests that wait are bounded in number and bytes") {
  WaitingRequests two(2);
  Request first("1", "a", 1), second("2", "a", 2), third("3", "a", 3);
  CHECK(two.put(first));
  CHECK(two.put(second));
  CHECK_FALSE(two.put(third));
  CHECK(third.id() == "3");
  CHECK(contains(two.refusal(), "2 requests"));
  CHECK(two.take().id() == "1");
  CHECK(two.put(third));
  CHECK(two.take().id() == "2");
  CHECK(two.take().id() == "3");
  CHECK(two.empty());

  WaitingRequests many(100);
  const std::string large(50UL * 1024 * 1024, 'x');
  first = Request("1", "a", large);
  second = Request("2", "a", large);
  third = Request("3", "a", large);
  CHECK(many.put(first));
  CHECK(many.put(second));
  CHECK_FALSE(many.put(third));
}
