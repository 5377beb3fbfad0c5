// F4 on ConnectionUnix: bytes that no correct peer sends, on a raw connection to the socket of a client and
// of a service.

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

#include "foreign.h"
#include "os/process.h"
#include "raw_sockets.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

std::string be32(std::uint32_t value) { return big_endian(value, 4); }
const std::string kHello = frame(R"({"hello":"raw"})");
std::string message(const std::string& members) { return frame(wire_message(members)); }

/// A stream socket without the frames of the protocol.
class Raw {
 public:
  Raw(const BusInfo& bus, const std::string& peer) : socket_(socket_to(bus, peer, SOCK_STREAM)) {}
  void send(const std::string& bytes) {
    for (std::size_t sent = 0; sent < bytes.size();) {
      const auto now = ::send(socket_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (now < 0) return;  // the peer closed the connection; the test checks that
      sent += static_cast<std::size_t>(now);
    }
  }
  void close() { socket_.reset(); }
  [[nodiscard]] bool hung_up() const { return is_hung_up(socket_.get()); }
  [[nodiscard]] bool is_open() const {
    pollfd look{socket_.get(), POLLIN, 0};
    return ::poll(&look, 1, 0) == 0;
  }
  /// Waits for bytes and returns them.
  [[nodiscard]] std::string received() const {
    pollfd look{socket_.get(), POLLIN, 0};
    if (::poll(&look, 1, os::Deadline::after(kHang).poll_timeout()) <= 0) return {};
    std::array<char, 4096> bytes{};
    const auto got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    return got > 0 ? std::string(bytes.data(), static_cast<std::size_t>(got)) : std::string();
  }

 private:
  os::UniqueFd socket_;
};

struct Garbage {
  std::string what;
  std::string bytes;
  bool close;     ///< The test closes the connection after the bytes.
  bool hangs_up;  ///< The receiver closes the connection.
  bool told;      ///< The receiver reports a diagnostic.
};

std::vector<Garbage> all_garbage() {
  const std::string deep(200000, '[');
  return {
      {"a truncated length, then the end", std::string("\0\0", 2), true, false, true},
      {"a truncated hello, then the end", kHello.substr(0, 9), true, false, true},
      {"a hello, a truncated frame, then the end", kHello + be32(1000) + "{\"id\":", true, false, true},
      {"an announced length of 4 GiB in place of a hello", be32(0xffffffff) + "xxxxxxxx", false, true, true},
      {"a hello, then an announced length of 4 GiB", kHello + be32(0xffffffff) + "xxxxxxxx", false, true,
       true},
      {"a hello that is no JSON", frame("hello, I am raw"), false, true, true},
      {"a hello of nothing", frame(""), false, true, true},
      {"a hello that is no object", frame("[1,2,3]"), false, true, true},
      {"a hello without a name", frame("{}"), false, true, true},
      {"a hello with an empty name", frame(R"({"hello":""})"), false, true, true},
      {"a hello whose name is an object", frame(R"({"hello":{}})"), false, true, true},
      {"a message without a sender", kHello + message(R"("content":1)"), false, false, true},
      {"a message with an empty sender", kHello + message(R"("from":"","content":1)"), false, false, true},
      {"a message without content", kHello + message(R"("from":"raw")"), false, false, true},
      {"a message of null", kHello + message(R"("from":"raw","content":null)"), false, false, true},
      {"a message that is no JSON", kHello + frame("\x01\x02\x03 garbage"), false, false, true},
      {"a message that is an array", kHello + frame("[]"), false, false, true},
      {"a message of no bytes", kHello + frame(""), false, false, true},
      {"a message nested too deep", kHello + frame(deep), false, false, true},
      {"nothing at all", "", false, false, false},
      {"nothing at all, then the end", "", true, false, false},
      {"a hello and no more", kHello, false, false, false},
      {"a hello, then the end", kHello, true, false, false},
      {"a second hello", kHello + kHello, false, false, false},
  };
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "F4: garbage to a client is dropped with a diagnostic, and disturbs nothing") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  Client other = ipcm_connect("other", guard.info());
  std::vector<std::string> told;
  target.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  std::size_t descriptors = 0;
  for (int round = 0; round < 3; ++round) {
    for (const Garbage& garbage : all_garbage()) {
      CAPTURE(garbage.what);
      told.clear();
      const auto dropped = target.dropped();
      Raw raw(guard.info(), "target");
      raw.send(garbage.bytes);
      if (garbage.close) raw.close();
      serve_until_silent(target);
      if (garbage.hangs_up) CHECK(raw.hung_up());
      CHECK((target.dropped() > dropped) == garbage.told);
      CHECK(told.empty() != garbage.told);
      CHECK(target.get_messages().empty());
      // Other peers are served as before, while the odd connection may still be open.
      other.send_message("target", garbage.what);
      CHECK(collect(target, 1)[0].content.as<std::string>() == garbage.what);
      target.send_message("other", 1);
      CHECK(collect(other, 1)[0].content.as<int>() == 1);
      raw.close();
      serve_until_silent(target);
    }
    if (round == 0) descriptors = lasting_descriptors().size();
  }
  CHECK(lasting_descriptors().size() == descriptors);  // further rounds open no more descriptors
  CHECK(target.peers() == std::vector<std::string>{"other"});
}

TEST_CASE_FIXTURE(Tidy, "F4: garbage to a service is dropped, it goes on answering, and does not spin") {
  Handle handle = start("target", echoing());
  const Pid pid = handle.service_pid().value();
  std::size_t descriptors = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<Raw> open;
    for (const Garbage& garbage : all_garbage()) {
      CAPTURE(garbage.what);
      Raw raw(handle.info(), "target");
      raw.send(garbage.bytes);
      if (garbage.close) raw.close();
      CHECK(handle.sync_request(garbage.what, kHang).as<std::string>() == garbage.what);
      if (garbage.hangs_up) CHECK(raw.hung_up());
      await_idle(pid);
      if (!garbage.close && !garbage.hangs_up) open.push_back(std::move(raw));
    }
    for (int i = 0; i < 50; ++i) CHECK(handle.sync_request<int>(i, kHang) == i);
    await_idle(pid);
    open.clear();
    CHECK(handle.sync_request("all hung up", kHang).ok());
    await_idle(pid);
    if (round == 0) descriptors = count_descriptors(pid);
  }
  CHECK(count_descriptors(pid) == descriptors);
}

TEST_CASE_FIXTURE(
    Tidy, "F4: an unknown response id, a bad request and an unreachable requester leave a service serving") {
  Handle handle = start("target", echoing());
  const Pid pid = handle.service_pid().value();
  Raw raw(handle.info(), "target");
  raw.send(kHello);
  for (const char* content :
       {R"({"ipcm_response_id":"01A2050B-0000-7000-8000-000000000000","response":1})",
        R"({"ipcm_response_id":{}})", R"({"ipcm_response_id":""})", R"({"ipcm_request_id":{},"request":1})",
        R"({"ipcm_request_id":"","request":1})",
        R"({"ipcm_request_id":"01A2050B-0000-7000-8000-000000000001"})", R"({"terminate":0})",
        R"({"terminate":false})"}) {
    CAPTURE(content);
    raw.send(message(std::string(R"("from":"raw","content":)") + content));
    CHECK(handle.sync_request(content, kHang).as<std::string>() == content);
  }
  // A requester that leaves before the answer ends a service of the reference.
  raw.send(message(
      R"("from":"who?","content":{"ipcm_request_id":"01A2050B-0000-7000-8000-000000000002","request":1})"));
  CHECK(handle.sync_request("on", kHang).ok());
  raw.close();
  CHECK(handle.sync_request("and on", kHang).ok());
  await_idle(pid);
}

TEST_CASE_FIXTURE(Tidy, "F4: a frame may arrive byte by byte, and others are served meanwhile") {
  Handle handle = start("target", echoing());
  const std::string request =
      kHello +
      message(
          R"("from":"raw","content":{"ipcm_request_id":"01A2050B-0000-7000-8000-000000000003","request":7})");
  Raw raw(handle.info(), "target");
  for (const char byte : request) {
    CHECK(raw.is_open());
    raw.send(std::string(1, byte));
    if (&byte - request.data() < 40) CHECK(handle.sync_request(1, kHang).ok());
  }
  CHECK(handle.sync_request(2, kHang).ok());
  CHECK_FALSE(raw.is_open());  // readable: the answer has arrived
}

TEST_CASE_FIXTURE(Tidy, "F4: many connections that never speak do not keep others out") {
  Handle handle = start("target", echoing());
  const Pid pid = handle.service_pid().value();
  std::vector<Raw> mute;
  for (int i = 0; i < 100; ++i) {
    mute.emplace_back(handle.info(), "target");
    CHECK(handle.sync_request(i, kHang).as<int>() == i);
  }
  Client late = ipcm_connect("late", handle.info());
  CHECK(late.try_message("target", 1));
  await_idle(pid);
}

TEST_CASE_FIXTURE(Tidy, "F4: an announced length reserves no memory") {
  Handle handle = start("target", echoing());
  const Pid pid = handle.service_pid().value();
  CHECK(handle.sync_request(1, kHang).ok());
  const auto before = os::resident_memory(pid).value();
  std::vector<Raw> raw;
  for (int i = 0; i < 20; ++i) {
    raw.emplace_back(handle.info(), "target").send(kHello + be32(60U << 20) + "{");
    CHECK(handle.sync_request(1, kHang).ok());
  }
  CHECK(os::resident_memory(pid).value() < before + (60U << 20));
}

TEST_CASE_FIXTURE(Tidy, "G3: of two that greet under one name, each gets the answers to its own requests") {
  Handle handle = start("target", echoing());
  const auto ask = [](Raw& raw, int number) {
    raw.send(message(R"("from":"raw","content":{"ipcm_request_id":"01A2050B-0000-7000-8000-00000000000)" +
                     std::to_string(number) + R"(","request":"of )" + std::to_string(number) + R"("})"));
  };
  Raw first(handle.info(), "target"), second(handle.info(), "target");
  first.send(kHello);
  CHECK(handle.sync_request(1, kHang).ok());
  second.send(kHello);  // from now on, messages to that name use this connection
  CHECK(handle.sync_request(2, kHang).ok());
  ask(first, 1);
  CHECK(first.received().find("of 1") != std::string::npos);
  CHECK(second.is_open());
  ask(second, 2);
  CHECK(second.received().find("of 2") != std::string::npos);
  CHECK(first.is_open());
}

namespace {

/// Appears on the bus as `name`, accepts connections, reads `most` bytes of each and closes it. The process
/// goes on.
int closes_connections(Lines& test, const BusInfo& bus, const std::string& name, std::size_t most) {
  const os::UniqueFd listener = socket_of(bus, name, SOCK_STREAM);
  if (::listen(listener.get(), 10) != 0) return 1;
  announce_foreign(bus, name, ::getpid());
  test.say("ready");
  for (;;) {
    const os::UniqueFd caller(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    std::string bytes(most, 0);
    if (most > 0) (void)::recv(caller.get(), bytes.data(), bytes.size(), 0);
  }
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "G10: a client may be ended in its own diagnostic callback") {
  const Guard guard = spawn_bus();
  for (const bool destroyed : {false, true})
    for (const bool waits : {false, true}) {
      auto target = std::make_unique<Client>(ipcm_connect("target", guard.info()));
      Client other = ipcm_connect("other", guard.info());
      int told = 0;
      target->on_diagnostic([&](const std::string&) {
        ++told;
        if (destroyed)
          target.reset();
        else
          target->disconnect();
      });
      Raw raw(guard.info(), "target");
      raw.send(frame("hello, I am raw") + kHello);
      if (waits)
        CHECK(target->wait_for_messages(kHang).empty());
      else
        CHECK(target->get_messages().empty());
      CHECK(told == 1);
      CHECK_FALSE(other.peer_exists("target"));
      CHECK(raw.hung_up());
    }
}

TEST_CASE_FIXTURE(Tidy,
                  "G4: a request whose connection is closed while its peer lives fails with the reason") {
  Handle handle = start("e", echoing());
  for (const std::size_t most : {std::size_t{0}, std::size_t{100'000}}) {
    CAPTURE(most);
    Forked peer([&](Lines& test) { return closes_connections(test, handle.info(), "closer", most); });
    REQUIRE(peer.hear() == "ready");
    for (int i = 0; i < 3; ++i) {
      const auto gone = thrown_by<PeerGone>([&] { (void)handle.sync_request("closer", i, kHang); });
      CHECK(contains(gone.what(), "close"));  // during the send, or later
      CHECK(gone.peer() == "closer");
    }
    int failed = 0;
    for (int i = 0; i < 3; ++i) {
      try {
        (void)handle.send_request("closer", i,
                                  [&](const Response& response) { failed += response.ok() ? 0 : 1; });
      } catch (const PeerGone&) {
        ++failed;  // the send has found it
      }
    }
    CHECK(handle.sync_request("e", 1, kHang).as<int>() == 1);
    handle.await_all_responses(kHang);
    CHECK(failed == 3);
    peer.kill(SIGKILL);
    (void)peer.wait();
    remove_foreign(handle.info(), "closer");
    (void)::unlink((handle.info().route + "/closer.pid").c_str());
  }
}

TEST_CASE_FIXTURE(Tidy, "G4: silent callers are limited in number, and don't keep others out") {
  Handle handle = start("target", echoing());
  std::vector<Raw> mute;
  for (int i = 0; i < 300; ++i) mute.emplace_back(handle.info(), "target");
  CHECK(handle.sync_request(1, kHang).as<int>() == 1);
  CHECK(mute.front().hung_up());
  CHECK(mute.back().is_open());
}

TEST_CASE_FIXTURE(Tidy, "G4: unfinished input of many senders is limited, and the largest is cut off") {
  ::setenv("IPCM_INPUT_LIMIT", "8", 1);
  Handle handle = start("target", echoing());
  ::unsetenv("IPCM_INPUT_LIMIT");
  const std::string begun(3U << 20, 'x');
  std::vector<Raw> raw;
  for (int i = 0; i < 4; ++i)
    raw.emplace_back(handle.info(), "target")
        .send(kHello + be32(60U << 20) + begun.substr(i == 0 ? 0 : 1U << 20));
  CHECK(raw.front().hung_up());
  CHECK(handle.sync_request(1, kHang).as<int>() == 1);
}

TEST_CASE_FIXTURE(Tidy, "G8: a flood on one connection, or of connections, does not delay timers") {
  ServiceOptions options = echoing();
  options.interval = 10ms;
  static int beats;
  beats = 0;
  options.on_interval = [](Service&) { ++beats; };
  options.handle_request = [](Service&, const Request&) -> Answer { return beats; };
  Handle handle = start("target", options);
  Forked flood([&](Lines& test) -> int {
    Raw raw(handle.info(), "target");
    raw.send(kHello);
    std::string many;
    while (many.size() < 1U << 20) many += message(R"("from":"raw","content":1)");
    test.say("begins");
    for (;;) raw.send(many);
  });
  Forked callers([&](Lines& test) -> int {
    test.say("begins");
    for (;;) (void)Raw(handle.info(), "target");
  });
  REQUIRE(flood.hear() == "begins");
  REQUIRE(callers.hear() == "begins");
  const int before = handle.sync_request<int>(1, kHang);
  const auto deadline = os::Deadline::after(kHang);
  int now = before;
  while (now < before + 5 && !deadline.has_passed()) now = handle.sync_request<int>(1, kHang);
  CHECK(now >= before + 5);
}
