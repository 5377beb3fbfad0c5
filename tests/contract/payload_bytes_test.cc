// Bytes as content: a bus with the serializer Cereal carries them unchanged; with another serializer, the
// send fails.

#include "contract.h"
#include "wire/serializer.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

constexpr std::size_t kMiB = 1024UL * 1024;

SpawnOptions bus_with(const std::string& serializer) {
  SpawnOptions options = bus_options();
  options.serializer = serializer;
  return options;
}
/// Returns whether the protocol under test can carry bytes: JSONFile holds only JSON, with every serializer.
bool can_carry() { return protocol() != "JSONFile"; }
LeaveOut carried() { return {!can_carry()}; }

/// Returns `size` bytes with all values, which are no text.
std::string some_bytes(std::size_t size) {
  std::string all(size, '\0');
  for (std::size_t i = 0; i < size; ++i) all[i] = static_cast<char>((i * 167 + i / 256) & 0xff);
  return all;
}

ServiceOptions on_bus(const std::string& serializer, ServiceOptions options) {
  options.bus = bus_with(serializer);
  return options;
}

/// Returns a service that answers a JSON request with its text as bytes, and bytes with their number. It
/// reads the bytes "7" as JSON, which fails.
ServiceOptions turning() {
  ServiceOptions options;
  options.expose_error_details = true;
  options.handle_request = [](Service&, const Request& request) -> Answer {
    if (request.raw() == Content::bytes("7")) return request.as<int>();
    if (request.raw().is_bytes()) return request.raw().as_bytes().size();
    return Content::bytes(request.raw().json());
  };
  return options;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy,
                  "bytes: between processes they come out as they went in" * needs_processes() * carried()) {
  const Guard guard = ipcm_spawn(bus_with("Cereal"));
  Client a = ipcm_connect("a", guard.info());
  constexpr std::size_t kSizes[] = {256, 0, 1, 70'000, kMiB, kMiB, kMiB, 5};
  Forked b(member("b", guard.info().text(), [&](Lines& test, Client& client) {
    for (std::size_t left = std::size(kSizes); left > 0;) {
      for (const Message& message : collect(client, 1)) {
        client.send_message("a", message.content);
        --left;
      }
    }
    test.hear();
  }));
  CHECK(b.hear() == "joined");
  for (const std::size_t size : kSizes) {
    CAPTURE(size);
    const Content sent = Content::bytes(some_bytes(size));
    a.send_message("b", sent);
    const auto got = collect(a, 1);
    REQUIRE(got.size() == 1);
    CHECK(got[0].from == "b");
    CHECK(got[0].content == sent);
  }
  b.say("enough");
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "bytes: between clients of one process, in order with text, put back and broadcast" *
                            carried()) {
  const Guard guard = ipcm_spawn(bus_with("Cereal"));
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  const std::size_t large = transport::find_protocol(protocol()).within_one_process() ? kMiB : 10'000;
  {
    auto batch = a.batch();
    a.send_message("b", Content::bytes(some_bytes(256)));
    a.send_message("b", "text");
    a.send_message("b", Content::bytes(""));
    a.send_message("b", Content::bytes(some_bytes(large)));
    batch.flush();
  }
  const auto got = collect(b, 4);
  REQUIRE(got.size() == 4);
  CHECK(got[0].content == Content::bytes(some_bytes(256)));
  CHECK(got[1].content == Content("text"));
  CHECK(got[2].content == Content::bytes(""));
  CHECK(got[3].content == Content::bytes(some_bytes(large)));

  b.requeue_message(got[0]);
  const auto again = collect(b, 1);
  CHECK(again[0].id == got[0].id);
  CHECK(again[0].content == got[0].content);

  a.broadcast(Content::bytes(std::string("\xFF\0\n", 3))).expect_sent();
  CHECK(collect(b, 1)[0].content == Content::bytes(std::string("\xFF\0\n", 3)));
}

TEST_CASE_FIXTURE(Tidy, "bytes: a request of bytes is answered with bytes" * needs_processes() * carried()) {
  Handle handle = ipcm_service("e", on_bus("Cereal", echoing()));
  for (const std::size_t size : {std::size_t{256}, std::size_t{0}, kMiB, kMiB, kMiB}) {
    CAPTURE(size);
    const Content sent = Content::bytes(some_bytes(size));
    const Response response = handle.sync_request(sent, kHang);
    CHECK(response.content().is_bytes());
    CHECK(response.content() == sent);
  }
  CHECK(handle.sync_request("text", kHang).content() == Content("text"));
  CHECK(handle.sync_request(nullptr, kHang).content() == Content());
  const Content sent = Content::bytes("with a callback");
  bool answered = false;
  handle.send_request(sent, [&](const Response& response) { answered = response.content() == sent; });
  handle.await_all_responses(kHang);
  CHECK(answered);
}

TEST_CASE_FIXTURE(Tidy, "bytes: a service can distinguish them from JSON, and may return them" *
                            needs_processes() * carried()) {
  Handle handle = ipcm_service("t", on_bus("Cereal", turning()));
  CHECK(handle.sync_request<std::size_t>(Content::bytes(some_bytes(70'000)), kHang) == 70'000);
  CHECK(handle.sync_request("x", kHang).content().as_bytes() == "\"x\"");
  CHECK(contains(
      thrown_by<RemoteError>([&] { (void)handle.sync_request(Content::bytes("7"), kHang).content(); }).what(),
      "request: 1 bytes, where a JSON value is expected"));
  CHECK_THROWS_AS((void)handle.sync_request<int>("x", kHang), ProtocolError);
}

TEST_CASE_FIXTURE(Tidy, "bytes: the boot binary's echo leaves them alone, with a prefix too" *
                            needs_processes() * carried()) {
  ServiceOptions options = on_bus("Cereal", exec_echo());
  options.args = Content::json(R"({"prefix":">"})");
  Handle handle = ipcm_service("e", options);
  CHECK(handle.sync_request("x", kHang).content() == Content(">x"));
  CHECK(handle.sync_request(Content::bytes("\"x\""), kHang).content() == Content::bytes("\"x\""));
}

TEST_CASE_FIXTURE(Tidy, "bytes: a service takes none as its arguments" * needs_processes() * carried()) {
  ServiceOptions options = on_bus("Cereal", exec_echo());
  options.args = Content::bytes("bytes");
  CHECK(contains(thrown_by<UsageError>([&] { (void)ipcm_service("e", options); }).what(),
                 "5 bytes and no JSON text"));
}

TEST_CASE_FIXTURE(Tidy, "bytes: on a bus of JSON text, sending them fails with advice, and nothing is sent") {
  std::vector<std::string> serializers = {"JSON"};
  if (contains(wire::known_serializers(), std::string("JSON::Zstd"))) serializers.emplace_back("JSON::Zstd");
  if (!can_carry()) serializers.emplace_back("Cereal");
  for (const std::string& serializer : serializers) {
    CAPTURE(serializer);
    const Guard guard = ipcm_spawn(bus_with(serializer));
    Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
    const Content bytes = Content::bytes("bytes");
    const std::function<void()> ways[] = {[&] { a.send_message("b", bytes); },
                                          [&] { a.try_message("b", bytes); },
                                          [&] { (void)a.broadcast(bytes); },
                                          [&] {
                                            const auto batch = a.batch();
                                            a.send_message("b", bytes);
                                          }};
    for (const auto& way : ways) {
      const std::string error = thrown_by<UsageError>(way).what();
      CHECK(contains(error, "the serializer Cereal"));
      CHECK(contains(error, "base64"));
    }
    CHECK(a.statistics().sent.empty());
    a.send_message("b", "text");
    const auto got = collect(b, 1);
    REQUIRE(got.size() == 1);
    CHECK(got[0].content == Content("text"));
  }
}

TEST_CASE_FIXTURE(Tidy, "bytes: on a bus of JSON text neither a request nor an answer may be bytes" *
                            needs_processes()) {
  Handle handle = ipcm_service("t", on_bus("JSON", turning()));
  const Content bytes = Content::bytes("bytes");
  CHECK(contains(thrown_by<UsageError>([&] { (void)handle.sync_request(bytes, kHang); }).what(), "Cereal"));
  CHECK(contains(thrown_by<UsageError>([&] { (void)handle.send_request(bytes); }).what(), "Cereal"));
  CHECK_FALSE(handle.have_pending_responses());
  const auto error = thrown_by<RemoteError>([&] { (void)handle.sync_request("x", kHang); });
  CHECK(contains(error.what(), "the serializer Cereal"));
}
