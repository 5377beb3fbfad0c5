// The facts of a service as JSON, both ways.

#include "client/inspection_document.h"
#include "ipcm/error.h"
#include "service/self_inspection.h"
#include "service/service_record.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using namespace std::chrono_literals;
using ipcm::test::Tidy;

namespace {

Inspection read(const std::string& json) { return client::read_inspection(Content::json(json), "g"); }

}  // namespace

TEST_CASE_FIXTURE(Tidy, "inspection: all facts survive the way through JSON") {
  Inspection facts;
  facts.name = "g";
  facts.class_name = "greeter";
  facts.pid = 4711;
  facts.started = Inspection::TimePoint(1795380997500ms);
  facts.ready = Inspection::TimePoint(1795380998s);
  facts.requests = {12, 2, 1};
  facts.messages = {20, 19, 3};
  facts.parameters = Content::json(R"({"args":{"word":"Hi"}})");
  facts.services = {{"child", 5}};
  facts.workers = {{"w1", 6}, {"w2", 7}};
  facts.last_failure = Inspection::Failure{"it failed", Inspection::TimePoint(1795380999s)};
  const Inspection read = client::read_inspection(client::write_inspection(facts), "g");
  CHECK(read.name == "g");
  CHECK(read.class_name == "greeter");
  CHECK(read.pid == 4711);
  CHECK((read.started == facts.started));
  CHECK((read.ready == facts.ready));
  CHECK(read.requests.answered == 12);
  CHECK(read.requests.failed == 2);
  CHECK(read.requests.open == 1);
  CHECK(read.messages.received == 20);
  CHECK(read.messages.sent == 19);
  CHECK(read.messages.waiting == 3);
  CHECK(read.parameters.json() == R"({"args":{"word":"Hi"}})");
  REQUIRE(read.services.size() == 1);
  CHECK(read.services[0].name == "child");
  CHECK(read.services[0].pid == 5);
  REQUIRE(read.workers.size() == 2);
  CHECK(read.workers[1].name == "w2");
  REQUIRE(read.last_failure.has_value());
  CHECK(read.last_failure->text == "it failed");
  CHECK((read.last_failure->time == facts.last_failure->time));
}

TEST_CASE_FIXTURE(
    Tidy, "inspection: an answer has at least a name and a pid, and may have more than this version knows") {
  const Inspection facts = read(R"({"name":"g","pid":7,"later":{"version":[1]}})");
  CHECK(facts.name == "g");
  CHECK(facts.parameters.is_null());
  CHECK_FALSE(facts.started.has_value());
  CHECK(facts.document.json() == R"({"name":"g","pid":7,"later":{"version":[1]}})");
}

TEST_CASE_FIXTURE(Tidy, "inspection: an answer that is none is refused, and the service is named") {
  for (const char* wrong :
       {"null", "[]", "7", "\"text\"", "{}", R"({"name":"g"})", R"({"name":"g","pid":"many"})",
        R"({"name":"g","pid":99999999999})", R"({"name":"g","pid":1,"started":1e300})",
        R"({"name":"g","pid":1,"requests":{"answered":-1}})", R"({"name":"g","pid":1,"workers":{"a":1}})"}) {
    CAPTURE(std::string(wrong));
    CHECK_THROWS_AS((void)read(wrong), ProtocolError);
  }
  CHECK_THROWS_WITH((void)read("{}"), doctest::Contains("'g'"));
  CHECK_THROWS_AS((void)client::read_inspection(Content::bytes("x"), "g"), ProtocolError);
}

TEST_CASE_FIXTURE(Tidy,
                  "inspection: parameters with default values are left out, large arguments are only "
                  "measured, secret ones are hidden") {
  handoff::Parameters parameters;
  CHECK(service::shown_parameters(parameters).json() == "{}");
  parameters.interval = 500ms;
  parameters.watch_pids = {1, 2};
  parameters.args = Content::json(R"({"password":"hush"})");
  CHECK(service::shown_parameters(parameters).json() ==
        R"({"watch_pids":[1,2],"interval":0.5,"args":{"password":"hush"}})");
  parameters.args = Content(std::string(100'000, 'x'));
  CHECK(service::shown_parameters(parameters).json() ==
        R"({"watch_pids":[1,2],"interval":0.5,"args_bytes":100002})");
  parameters.secret = true;
  CHECK(service::shown_parameters(parameters).is_null());
}

TEST_CASE_FIXTURE(Tidy, "inspection: the open requests are those without an answer, never fewer than none") {
  service::ServiceRecord record;
  record.requests = 5;
  record.answered = 2;
  record.failed = 1;
  CHECK(record.open() == 2);
  record.answered = 7;  // it has answered some twice
  CHECK(record.open() == 0);
  record.note_failure("one\nline");
  REQUIRE(record.last_failure.has_value());
  CHECK(record.last_failure->text == "one\\nline");
}
