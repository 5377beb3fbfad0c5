// The fields that a sender adds to its messages: Message::fields.

#include "contract.h"
#include "wire/serializer.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

bool carries_fields() {
  return transport::find_protocol(protocol()).carries_fields() &&
         wire::make_serializer({protocol(), serializer(), {}})->carries_fields();
}
/// For tests of messages with fields; or, with false, of their refusal.
LeaveOut carried_fields(bool carried = true) { return {carries_fields() != carried}; }

const Fields& some_fields() {
  static const Fields fields{
      {"trace", "00-4bf9"}, {"list", Content::json(R"([1,{"a":null}])")}, {"\xc3\xbc", 7}};
  return fields;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "a message carries the fields of its sender" * carried_fields()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client b = ipcm_connect("b", guard.info());
  a.send_message("b", "plain");
  a.send_message("b", "with", {.fields = some_fields()});
  CHECK(a.try_message("b", "tried", nullptr, {.fields = {{"n", 1}}}));
  CHECK(a.broadcast("all", {.fields = some_fields()}).sent == Strings{"b"});
  constexpr std::size_t kLarge = 32 * 1024;  // fits into every queue: nobody reads meanwhile
  a.send_message("b", std::string(kLarge, 'x'), {.fields = some_fields()});
  const auto messages = collect(b, 5);
  CHECK(messages[0].fields.empty());
  CHECK(messages[1].fields == some_fields());
  CHECK(messages[1].content == Content("with"));
  CHECK(messages[1].from == "a");
  CHECK(messages[2].fields == Fields{{"n", 1}});
  CHECK(messages[3].fields == some_fields());
  CHECK(messages[3].broadcast);
  CHECK(messages[4].fields == some_fields());
  CHECK(messages[4].content.size() == kLarge + 2);
}

TEST_CASE_FIXTURE(Tidy, "the fields of a message that is put back stay with it" * carried_fields()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client b = ipcm_connect("b", guard.info());
  a.send_message("b", 1, {.fields = some_fields()});
  b.requeue_message(collect(b, 1)[0]);
  CHECK(collect(b, 1)[0].fields == some_fields());
}

TEST_CASE_FIXTURE(Tidy, "a service reads the fields of a request" * needs_processes() * carried_fields()) {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request& request) -> Answer {
    const auto trace = request.fields().find("trace");
    return trace == request.fields().end() ? Content("none") : trace->second;
  };
  Handle handle = start("s", options);
  CHECK(handle.sync_request("x", kHang).content() == Content("none"));
  CHECK(handle.sync_request<std::string>("s", "x", kHang, {.fields = some_fields()}) == "00-4bf9");
  CHECK(handle.sync_request("s", std::string(1024 * 1024, 'x'), kHang, {.fields = some_fields()}).content() ==
        Content("00-4bf9"));
  std::string heard;
  handle.send_request("s", "x", [&](const Response& response) { heard = response.as<std::string>(); },
                      {.fields = some_fields()});
  handle.await_all_responses(kHang);
  CHECK(heard == "00-4bf9");
}

TEST_CASE_FIXTURE(Tidy,
                  "fields that no message may have are refused, and nothing is sent" * carried_fields()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client b = ipcm_connect("b", guard.info());
  const auto refused = [&](const Fields& fields) {
    return std::string(thrown_by<UsageError>([&] { a.send_message("b", 1, {.fields = fields}); }).what());
  };
  for (const char* name :
       {"id", "from", "to", "stamp", "stamp_ord", "broadcast", "content", "hello", "ipcm_x"})
    CHECK(contains(refused({{name, 1}}), name));
  CHECK(contains(refused({{"", 1}}), "empty"));
  CHECK(contains(refused({{"\xff", 1}}), "UTF-8"));
  CHECK(contains(refused({{"x", nullptr}}), "null"));
  CHECK(contains(refused({{"x", Content::bytes("b")}}), "bytes"));
  CHECK(contains(refused({{"x", Content::trusted_json("{")}}), "no JSON"));
  CHECK(contains(refused({{"x", std::string(64 * 1024, 'x')}}), "64 KiB"));
  Fields many;
  for (int i = 0; i < 65; ++i) many.emplace("f" + std::to_string(i), i);
  CHECK(contains(refused(many), "64"));
  CHECK_THROWS_AS((void)a.sync_request("b", 1, kHang, {.fields = {{"id", 1}}}), UsageError);
  CHECK_FALSE(a.have_pending_responses());
  a.send_message("b", "last");
  CHECK(collect(b, 1)[0].content == Content("last"));
}

TEST_CASE_FIXTURE(Tidy, "where messages have no fields, the sender is told so" * carried_fields(false)) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client b = ipcm_connect("b", guard.info());
  const auto why = thrown_by<UsageError>([&] { a.send_message("b", 1, {.fields = some_fields()}); });
  CHECK(contains(why.what(), serializer() == "Cereal" ? "Cereal" : protocol()));
  CHECK_THROWS_AS((void)a.broadcast(1, {.fields = some_fields()}), UsageError);
  CHECK_THROWS_AS(a.requeue_message({"id", "a", "b", 1, 0, false, 1, some_fields()}), UsageError);
  a.send_message("b", "last");
  CHECK(collect(b, 1)[0].content == Content("last"));
}
