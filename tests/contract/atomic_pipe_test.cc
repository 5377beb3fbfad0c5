// AtomicPipe: the bytes of the reference in both directions, garbage in the pipe, writers that die or begin
// anew, several writers in one process, readers that stall or are replaced.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

#include "foreign.h"
#include "loop/loop.h"
#include "os/process.h"
#include "transport/protocols.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

constexpr std::size_t kMiB = 1024UL * 1024;
/// What a sender may need for a queue at its limit, and the message in hand. An address sanitizer keeps what
/// is freed for a while.
#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t kQueueMemory = (200 + 512) * kMiB;
#else
constexpr std::size_t kQueueMemory = 200 * kMiB;
#endif
constexpr std::size_t kData = 4080;

std::string bytes_of(std::initializer_list<std::uint32_t> numbers) {
  std::string bytes;
  for (const std::uint32_t number : numbers) {
    std::array<char, 4> four{};
    std::memcpy(four.data(), &number, four.size());
    bytes.append(four.data(), four.size());
  }
  return bytes;
}
std::string part(Pid pid, std::uint32_t thread, std::uint32_t number, const std::string& data) {
  return bytes_of(
             {static_cast<std::uint32_t>(pid), thread, number, static_cast<std::uint32_t>(data.size())}) +
         data;
}
std::string part(std::uint32_t number, const std::string& data) { return part(::getpid(), 0, number, data); }
std::string single(const std::string& content) {
  return part(0, wire_message(R"("from":"raw","content":)" + content));
}

/// A writer as the reference's is; writes what it is given in one call.
class Raw {
 public:
  Raw(const BusInfo& bus, const std::string& peer)
      : pipe_(::open((bus.route + "/" + peer).c_str(), O_WRONLY | O_CLOEXEC)) {
    REQUIRE(pipe_.get() >= 0);
  }
  void write(const std::string& bytes) {
    REQUIRE(::write(pipe_.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  /// As a message, in parts.
  void write_message(const std::string& message, std::uint32_t thread = 0) {
    const std::size_t parts = (message.size() + kData - 1) / kData;
    for (std::size_t i = 0; i < parts; ++i)
      write(part(::getpid(), thread, static_cast<std::uint32_t>(parts - 1 - i),
                 message.substr(i * kData, kData)));
  }

 private:
  os::UniqueFd pipe_;
};

struct Part {
  std::uint32_t pid = 0, thread = 0, number = 0;
  std::string data;
};

/// A reader as the reference's is.
class ForeignPeer {
 public:
  ForeignPeer(const BusInfo& bus, const std::string& name) : bus_(bus), name_(name) {
    const std::string path = bus.route + "/" + name;
    REQUIRE(::mkfifo(path.c_str(), 0700) == 0);
    pipe_ = os::UniqueFd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    REQUIRE(pipe_.get() >= 0);
    announce_foreign(bus, name, ::getpid());
  }
  ~ForeignPeer() {
    if (pipe_) remove_foreign(bus_, name_);
  }
  ForeignPeer(ForeignPeer&&) = default;
  Part hear() {
    const std::string head = read(16);
    Part one;
    std::uint32_t size = 0;
    std::memcpy(&one.pid, head.data(), 4);
    std::memcpy(&one.thread, head.data() + 4, 4);
    std::memcpy(&one.number, head.data() + 8, 4);
    std::memcpy(&size, head.data() + 12, 4);
    REQUIRE(size <= kData);
    one.data = read(size);
    return one;
  }
  [[nodiscard]] bool heard_nothing() const {
    pollfd look{pipe_.get(), POLLIN, 0};
    return ::poll(&look, 1, 0) == 0;
  }

 private:
  [[nodiscard]] std::string read(std::size_t size) const {
    std::string bytes(size, '\0');
    for (std::size_t at = 0; at < size;) {
      REQUIRE(readable(pipe_.get()));
      const auto got = ::read(pipe_.get(), bytes.data() + at, size - at);
      REQUIRE(got > 0);
      at += static_cast<std::size_t>(got);
    }
    return bytes;
  }
  BusInfo bus_;
  std::string name_;
  os::UniqueFd pipe_;
};

struct Garbage {
  std::string what;
  std::string bytes;
  std::size_t told = 1;
};

std::vector<Garbage> all_garbage() {
  const std::string good = wire_message(R"("from":"raw","content":1)"), full(kData, 'f');
  return {
      {"one byte", "x"},
      {"text", "hello, I am no header, and nor is what follows"},
      {"a message without a header", good},
      {"half a header", part(0, good).substr(0, 9)},
      {"a header and no more", part(0, good).substr(0, 16)},
      {"a header and half of what it says", part(0, good).substr(0, 60)},
      {"a header of nothing but zeros", std::string(16, '\0')},
      {"a header of nothing but ones", std::string(4096, '\xff')},
      {"a part larger than can be", part(0, std::string(kData + 1, 'x'))},
      {"a part of 4 GiB", bytes_of({static_cast<std::uint32_t>(::getpid()), 0, 0, 0xffffffffU}) + "xxxx"},
      {"an impossible pid", part(0x7fffffff, 0, 0, good)},
      {"a message of billions of parts", part(0xfffffffeU, "x")},
      {"an empty part in the middle", part(3, "")},
      {"a message without any bytes", part(0, ""), 0},
      {"a message that is no JSON", part(0, "\x01\x02\x03 garbage")},
      {"a message that is an array", part(0, "[]")},
      {"a message without a sender", part(0, wire_message(R"("content":1)"))},
      {"a message without content", part(0, wire_message(R"("from":"raw")"))},
      {"a message of null", part(0, wire_message(R"("from":"raw","content":null)"))},
      {"a message nested too deep", part(1, std::string(kData, '[')) + part(0, std::string(kData, '['))},
      {"a part that jumps", part(5, full) + part(3, full) + part(0, "x"), 3},
      {"a large message announced", part(20000, full) + part(0, "x"), 2},
      {"garbage after a message begun", part(3, full) + "garbage that goes on for more than a header"},
  };
}

/// A process that joins and does not read, until it is told how many messages to expect.
int sleeper(Lines& test, const BusInfo& bus) {
  Client client = ipcm_connect("sleeper", bus);
  test.say("joined");
  const int expected = std::stoi(test.hear());
  int next = 0;
  while (next < expected)
    for (const Message& message : client.wait_for_messages(kHang))
      if (message.content.as<std::string>().substr(0, 8) != std::to_string(10000000 + next++)) return 1;
  test.say("all in order");
  test.hear();
  return 0;
}

/// A service that sends to `sleeper`, as many as it can of a given size.
ServiceOptions flooder() {
  ServiceOptions options;
  options.handle_request = [](Service& self, const Request& request) -> Answer {
    if (request.raw().json()[0] == '"') return request.raw();
    const auto size = request.as<std::size_t>();
    int sent = 0;
    std::string why;
    while (
        self.client().try_message("sleeper", std::to_string(10000000 + sent) + std::string(size, 'x'), &why))
      ++sent;
    self.client().send_message("ear", why);
    return sent;
  };
  return options;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "wire: a message as the reference sends it is understood, in one part and in three") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("service_parent_15745", guard.info());
  const std::string place = guard.info().route + "/service_parent_15745";
  struct stat facts {};
  REQUIRE(::stat(place.c_str(), &facts) == 0);
  CHECK(S_ISFIFO(facts.st_mode));
  CHECK((facts.st_mode & 07777U) == 0700);
  Raw raw(guard.info(), "service_parent_15745");
  raw.write_message(
      R"({"content":{"response":{"got":"hello","list":[1,"2",null]},"ipcm_response_id":"01A2050B-EF33-7C54-B7BE-570FED48A938"},"from":"svc","stamp_ord":0,"to":"service_parent_15745","id":"01A2050B-EF36-740F-A83D-00A7E4F30A23","stamp":1795380997.94263})");
  const auto got = collect(target, 1);
  CHECK(got[0].from == "svc");
  CHECK(got[0].id == "01A2050B-EF36-740F-A83D-00A7E4F30A23");
  CHECK(contains(got[0].content.json(), R"("list":[1,"2",null])"));
  raw.write_message(wire_message_of(9000));
  CHECK(collect(target, 1)[0].content.as<std::string>().size() > 8500);
  CHECK(target.dropped() == 0);
}

TEST_CASE_FIXTURE(Tidy, "wire: a foreign peer gets parts with our pid and thread 0, numbered down") {
  const Guard guard = spawn_bus();
  ForeignPeer perl(guard.info(), "perl");
  Forked ours([&](Lines& test) {
    Client a = ipcm_connect("a", guard.info());
    test.say(a.peer_active("perl") ? "active" : "not active");
    a.send_message("perl", "gr\xc3\xbc\xc3\x9f e");
    a.send_message("perl", std::string(9000, 'x'));
    test.hear();
    return 0;
  });
  CHECK(ours.hear() == "active");
  const Part first = perl.hear();
  CHECK(first.pid == static_cast<std::uint32_t>(ours.pid()));
  CHECK(first.thread == 0);
  CHECK(first.number == 0);
  CHECK(first.data.front() == '{');
  CHECK(first.data.back() == '}');
  CHECK(contains(first.data, R"("content":"gr\u00fc\u00df e")"));
  std::string whole;
  for (std::uint32_t number = 3; number-- > 0;) {
    const Part one = perl.hear();
    CHECK(one.number == number);
    CHECK(one.pid == first.pid);
    CHECK(one.thread == 0);
    CHECK((one.data.size() == kData || number == 0));
    whole += one.data;
  }
  CHECK(contains(whole, std::string(9000, 'x')));
  CHECK(perl.heard_nothing());
  ours.say("end");
  CHECK(ours.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "wire: two members of one process write under different thread numbers") {
  const Guard guard = spawn_bus();
  ForeignPeer perl(guard.info(), "perl");
  Forked ours([&](Lines& test) {
    Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
    for (int i = 0; i < 3; ++i) {
      a.send_message("perl", "of a");
      b.send_message("perl", "of b");
    }
    test.hear();
    return 0;
  });
  for (int i = 0; i < 3; ++i) {
    const Part one = perl.hear(), two = perl.hear();
    CHECK(contains(one.data, "of a"));
    CHECK(one.thread == 0);
    CHECK(contains(two.data, "of b"));
    CHECK(two.thread == 1);
  }
  ours.say("end");
  CHECK(ours.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "wire: large messages that two members of one process send at once do not mix") {
  Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  constexpr std::size_t kSize = 4 * kMiB;  // several times what the pipe holds, so that both wait for room
  Forked both([&](Lines& test) {
    ServiceOptions options;
    options.handle_request = [&](Service& self, const Request& request) -> Answer {
      // A second member of the process, in the middle of the service's own message.
      for (int i = 0; i < 3; ++i) self.client().send_message("a", std::string(kSize, 's'));
      Client second = ipcm_connect("second", guard.info());
      for (int i = 0; i < 3; ++i) second.send_message("a", std::string(kSize, 'c'));
      return request.raw();
    };
    Handle service = start_on(guard.info(), "s", options);
    test.say("started");
    CHECK(service.sync_request(1, kHang).ok());
    return 0;
  });
  CHECK(both.hear() == "started");
  int of_service = 0, of_client = 0;
  while (of_service + of_client < 6)
    for (const Message& message : collect(a, 1)) {
      const auto text = message.content.as<std::string>();
      CHECK(text.size() == kSize);
      CHECK(text.find_first_not_of(text[0]) == std::string::npos);
      ++(text[0] == 's' ? of_service : of_client);
    }
  CHECK(of_service == 3);
  CHECK(of_client == 3);
  CHECK(a.dropped() == 0);
  CHECK(both.wait() == ExitStatus::exited(0));
  guard.shutdown();
}

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
      Raw raw(guard.info(), "target");
      raw.write(garbage.bytes);
      serve_until_silent(target);
      CHECK(told.size() == garbage.told);
      CHECK(target.get_messages().empty());
      raw.write(single("\"same writer\""));
      CHECK(collect(target, 1)[0].content.as<std::string>() == "same writer");
      other.send_message("target", garbage.what);
      CHECK(collect(target, 1)[0].content.as<std::string>() == garbage.what);
      target.send_message("other", 1);
      CHECK(collect(other, 1)[0].content.as<int>() == 1);
    }
    if (round == 0) descriptors = open_descriptors().size();
  }
  CHECK(open_descriptors().size() == descriptors);
}

TEST_CASE_FIXTURE(Tidy, "F4: garbage to a service is dropped, it goes on answering, and does not spin") {
  Handle handle = start("target", echoing());
  const Pid pid = handle.service_pid().value();
  CHECK(handle.sync_request("first", kHang).ok());
  const auto descriptors = descriptors_of(pid).size();
  for (const Garbage& garbage : all_garbage()) {
    CAPTURE(garbage.what);
    Raw raw(handle.info(), "target");
    raw.write(garbage.bytes);
    await_idle(pid);  // or a request could be in the pipe that is emptied
    CHECK(handle.sync_request(garbage.what, kHang).as<std::string>() == garbage.what);
    await_idle(pid);
  }
  CHECK(descriptors_of(pid).size() == descriptors);
}

TEST_CASE_FIXTURE(Tidy, "F4: garbage without end empties the pipe again and again, and the reader lives") {
  Handle handle = start("target", echoing());
  const Pid pid = handle.service_pid().value();
  const auto before = os::resident_memory(pid).value();
  {
    Raw raw(handle.info(), "target");
    for (int i = 0; i < 5000; ++i) raw.write(std::string(4096, static_cast<char>('a' + i % 26)));
  }
  await_idle(pid);
  CHECK(handle.sync_request("still", kHang).as<std::string>() == "still");
  CHECK(os::resident_memory(pid).value() < before + 16 * kMiB);
}

TEST_CASE_FIXTURE(Tidy, "F4: a part that jumps costs its own writer's message, and no other") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  std::vector<std::string> told;
  target.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  Raw raw(guard.info(), "target");
  const std::string large = wire_message_of(10000);
  raw.write(part(::getpid(), 0, 2, large.substr(0, kData)));
  raw.write(part(::getpid(), 7, 2, large.substr(0, kData)));
  raw.write(part(::getpid(), 7, 1, large.substr(kData, kData)));
  raw.write(single("\"begun anew\""));
  raw.write(part(::getpid(), 7, 0, large.substr(2 * kData)));
  const auto got = collect(target, 2);
  CHECK(got[0].content.as<std::string>() == "begun anew");
  CHECK(got[1].content.as<std::string>().size() > 9000);
  REQUIRE(told.size() == 1);
  CHECK(contains(told[0], std::to_string(::getpid())));
}

TEST_CASE_FIXTURE(Tidy, "F4: what a writer left unfinished goes with it; what it had finished stays") {
  Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  std::vector<std::string> told;
  target.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  const auto descriptors = open_descriptors().size();
  for (const bool dead_before : {false, true}) {
    CAPTURE(dead_before);
    told.clear();
    Forked writer([&](Lines& test) {
      Raw raw(guard.info(), "target");
      raw.write(part(::getpid(), 0, 0, wire_message(R"("from":"raw","content":"whole")")));
      raw.write(part(::getpid(), 0, 2, std::string(kData, 'x')));
      test.say("written");
      test.hear();
      raw.write(part(::getpid(), 0, 1, std::string(kData, 'x')));
      return 0;
    });
    CHECK(writer.hear() == "written");
    if (!dead_before) {
      CHECK(collect(target, 1)[0].content.as<std::string>() == "whole");
      serve_until_silent(target);
      CHECK(told.empty());  // it may yet go on
    }
    writer.say("end");
    CHECK(writer.wait() == ExitStatus::exited(0));
    if (dead_before) CHECK(collect(target, 1)[0].content.as<std::string>() == "whole");
    const auto deadline = os::Deadline::after(kHang);
    while (told.empty() && !deadline.has_passed()) {
      REQUIRE(readable(target.fd()));
      target.dispatch();
    }
    REQUIRE(told.size() == 1);
    CHECK(contains(told[0], std::to_string(writer.pid())));
    CHECK(contains(told[0], "8160"));
    serve_until_silent(target);
  }
  CHECK(open_descriptors().size() <= descriptors + 1);  // the last one's Lines
}

TEST_CASE_FIXTURE(Tidy, "large: messages between ours go whole and in order, whatever their size") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const std::vector<std::size_t> sizes = {1, 3900, 4000, 4080, 4081, 8160, 3, 65536, kMiB, 30 * kMiB, 1, 2};
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    for (const std::size_t size : sizes) client.send_message("a", std::string(size, 'x'));
    test.say("sent");
    return 0;
  });
  std::size_t next = 0;
  while (next < sizes.size())
    for (const Message& message : collect(a, 1)) {
      const auto text = message.content.as<std::string>();
      CHECK(text.size() == sizes[next++]);
      CHECK(text.find_first_not_of('x') == std::string::npos);
    }
  CHECK(b.hear() == "sent");
  CHECK(b.wait() == ExitStatus::exited(0));
  CHECK(a.dropped() == 0);
}

TEST_CASE_FIXTURE(Tidy, "large: beyond 64 MiB is refused, by who sends and by who reads") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client b = ipcm_connect("b", guard.info());
  CHECK(contains(thrown_by<ProtocolError>([&] { a.send_message("b", std::string(64 * kMiB, 'x')); }).what(),
                 "67108864"));
  std::vector<std::string> told;
  b.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  Raw raw(guard.info(), "b");
  constexpr std::uint32_t kParts = 17000;
  for (std::uint32_t number = kParts; number-- > 0;) {
    raw.write(part(number, std::string(kData, 'x')));
    if (number % 100 == 0) b.dispatch();
  }
  raw.write(single("\"after it\""));
  CHECK(collect(b, 1)[0].content.as<std::string>() == "after it");
  REQUIRE(told.size() == 1);
  CHECK(contains(told[0], "67108864"));
}

TEST_CASE_FIXTURE(Tidy,
                  "F5: a reader that stops reading: its senders get an error in the end, others nothing") {
  for (const std::size_t size : {std::size_t{10000}, 6 * kMiB}) {
    CAPTURE(size);
    Guard guard = spawn_bus();
    Client ear = ipcm_connect("ear", guard.info());
    Handle handle = start_on(guard.info(), "flooder", flooder());
    const Pid pid = handle.service_pid().value();
    CHECK(handle.sync_request("first", kHang).ok());
    const auto before = os::resident_memory(pid).value();
    Forked reader([&](Lines& test) { return sleeper(test, guard.info()); });
    CHECK(reader.hear() == "joined");
    const int sent = handle.sync_request<int>(size, kHang);
    const auto why = collect(ear, 1)[0].content.as<std::string>();
    CHECK(contains(why, "sleeper"));
    CHECK(contains(why, "does not read"));
    CHECK(static_cast<std::size_t>(sent) * size > 48 * kMiB);
    CHECK(static_cast<std::size_t>(sent) * size < 80 * kMiB);
    CHECK(os::resident_memory(pid).value() < before + kQueueMemory);
    // The others notice nothing, and nobody spins.
    CHECK(handle.sync_request("still", kHang).as<std::string>() == "still");
    await_idle(pid);
    reader.say(std::to_string(sent));
    CHECK(reader.hear() == "all in order");
    await_idle(pid);
    reader.say("end");
    CHECK(reader.wait() == ExitStatus::exited(0));
    guard.shutdown();
  }
}

TEST_CASE_FIXTURE(
    Tidy, "F5: a reader that is killed with messages queued for it: that is told, and its sender goes on") {
  Guard guard = spawn_bus();
  StderrInto log(directory() + "/log");
  Client ear = ipcm_connect("ear", guard.info());
  Handle handle = start_on(guard.info(), "flooder", flooder());
  Forked reader([&](Lines& test) { return sleeper(test, guard.info()); });
  CHECK(reader.hear() == "joined");
  CHECK(handle.sync_request<int>(10000, kHang) > 0);
  (void)collect(ear, 1);
  reader.kill(SIGKILL);
  CHECK(reader.wait() == ExitStatus::signalled(SIGKILL));
  // Its queue is noticed to be in vain without anybody sending.
  await_idle(handle.service_pid().value());
  CHECK(contains(read_file(directory() + "/log"), "were not delivered"));
  CHECK(handle.sync_request("still", kHang).as<std::string>() == "still");
  CHECK(handle.sync_request<int>(10000, kHang) == 0);
  guard.shutdown();
  (void)::unlink((directory() + "/log").c_str());
}

TEST_CASE_FIXTURE(Tidy,
                  "replaced: a pipe that nobody reads any more raises no SIGPIPE, and leaves none behind") {
  const Guard guard = spawn_bus();
  ::signal(SIGPIPE, SIG_DFL);
  for (const bool blocked : {false, true}) {
    CAPTURE(blocked);
    Forked sender([&](Lines& test) {
      sigset_t set{};
      sigemptyset(&set);
      sigaddset(&set, SIGPIPE);
      if (blocked) ::sigprocmask(SIG_BLOCK, &set, nullptr);
      Client a = ipcm_connect("a", guard.info());
      test.say("joined");
      test.hear();
      a.send_message("b", 1);
      test.say("sent");
      test.hear();
      std::string why;
      const bool gone = !a.try_message("b", 2, &why);
      sigset_t pending{}, mask{};
      ::sigpending(&pending);
      ::sigprocmask(SIG_BLOCK, nullptr, &mask);
      const bool clean = sigismember(&pending, SIGPIPE) == 0 && (sigismember(&mask, SIGPIPE) == 1) == blocked;
      test.say(gone && clean ? "gone" : "not clean: " + why);
      return 0;
    });
    CHECK(sender.hear() == "joined");
    Forked b([&](Lines& test) {
      const Client client = ipcm_connect("b", guard.info());
      test.say("joined");
      test.hear();
      return 0;
    });
    CHECK(b.hear() == "joined");
    sender.say("send");
    CHECK(sender.hear() == "sent");
    b.kill(SIGKILL);  // its pipe stays where it is, without a reader
    CHECK(b.wait() == ExitStatus::signalled(SIGKILL));
    sender.say("send");
    CHECK(sender.hear() == "gone");
    CHECK(sender.wait() == ExitStatus::exited(0));
  }
}

TEST_CASE_FIXTURE(
    Tidy,
    "replaced: a successor is reached at once, also if its predecessor's pipe is still open somewhere") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  ForeignPeer first(guard.info(), "perl");  // and stays open, as in a worker of the reference's
  a.send_message("perl", 1);
  remove_foreign(guard.info(), "perl");
  CHECK_THROWS_AS(a.send_message("perl", 2), PeerGone);
  ForeignPeer second(guard.info(), "perl");
  a.send_message("perl", 3);
  CHECK(contains(second.hear().data, R"("content":3)"));
  CHECK(contains(first.hear().data, R"("content":1)"));
  CHECK(first.heard_nothing());
}

TEST_CASE_FIXTURE(
    Tidy,
    "replaced: after a message that was given up in its middle, the next is written under another number") {
  const Guard guard = spawn_bus();
  ForeignPeer perl(guard.info(), "perl");
  Forked ours([&](Lines& test) {
    struct Deaf final : transport::Receiver {
      void heard(wire::Heard) override {}
      void link_lost(const std::string&) override {}
      void peers_changed() override {}
      void dropped(const std::string& sentence) override { told = sentence; }
      std::string told;
    } deaf;
    Loop loop;
    transport::JoinRequest request;
    request.info = guard.info();
    request.name = "a";
    request.serializer = wire::make_serializer(request.info);
    const auto member = transport::find_protocol(protocol()).join(request, loop, deaf);
    Message message{"id", "a", "perl", 1, 0, false, Content(std::string(3 * kMiB, 'x'))};
    std::string why;
    test.say(member->send(message, why) == transport::Transport::Sent::queued ? "queued" : why);
    test.hear();
    member->abandon("perl");
    test.say(deaf.told);
    message.content = Content("after it");
    test.hear();
    test.say(member->send(message, why) == transport::Transport::Sent::done ? "done" : why);
    member->leave({});
    return 0;
  });
  CHECK(ours.hear() == "queued");
  ours.say("give it up");
  CHECK(contains(ours.hear(), "1 messages to 'perl' were not delivered"));
  std::uint32_t last = 0;
  while (!perl.heard_nothing()) {
    const Part one = perl.hear();
    CHECK(one.thread == 0);
    last = one.number;
  }
  CHECK(last > 0);
  ours.say("the next");
  CHECK(ours.hear() == "done");
  const Part next = perl.hear();
  CHECK(next.thread == 1);
  CHECK(next.number == 0);
  CHECK(contains(next.data, "after it"));
  CHECK(ours.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "replaced: many peers that come and go leave no descriptors") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const auto before = open_descriptors().size();
  for (int i = 0; i < 300; ++i) {
    Client b = ipcm_connect("b" + std::to_string(i), guard.info());
    a.send_message(b.id(), i);
    CHECK(collect(b, 1)[0].content.as<int>() == i);
    b.disconnect();
  }
  CHECK(open_descriptors().size() < before + 100);
}

TEST_CASE_FIXTURE(
    Tidy, "A3: many senders at once, with messages of many parts: each one's in order, none lost or mixed") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  constexpr int kSenders = 4, kEach = 200;
  std::vector<std::unique_ptr<Forked>> senders;
  for (int i = 0; i < kSenders; ++i)
    senders.push_back(std::make_unique<Forked>([&, i](Lines&) {
      Client one = ipcm_connect("one" + std::to_string(i), guard.info());
      Client two = ipcm_connect("two" + std::to_string(i), guard.info());
      for (int n = 0; n < kEach; ++n) {
        one.send_message("a", std::to_string(1000 + n) + std::string(static_cast<std::size_t>(n) * 100, '1'));
        two.send_message("a", std::to_string(1000 + n) + std::string(static_cast<std::size_t>(n) * 100, '2'));
      }
      return 0;
    }));
  std::map<std::string, int> next;
  for (const Message& message : collect(a, kSenders * 2 * kEach)) {
    const auto text = message.content.as<std::string>();
    const int number = next[message.from]++;
    REQUIRE(text.substr(0, 4) == std::to_string(1000 + number));
    REQUIRE(text.size() == 4 + static_cast<std::size_t>(number) * 100);
    REQUIRE(text.find_first_not_of(message.from[0] == 'o' ? '1' : '2', 4) == std::string::npos);
  }
  CHECK(next.size() == kSenders * 2);
  CHECK(a.dropped() == 0);
  for (auto& sender : senders) CHECK(sender->wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "D4: a foreign peer that leaves, or dies, before it answers is PeerGone") {
  Handle handle = start("e", echoing());
  for (const bool politely : {true, false}) {
    CAPTURE(politely);
    Forked perl([&](Lines& test) {
      ForeignPeer peer(handle.info(), "perl");
      test.say("joined");
      const auto request = peer.hear().data;
      test.say(contains(request, "ipcm_request_id") ? "asked" : request);
      test.hear();
      if (politely) remove_foreign(handle.info(), "perl");
      test.say("left");
      test.hear();
      return 0;
    });
    CHECK(perl.hear() == "joined");
    const std::string id = handle.send_request("perl", 1);
    CHECK(perl.hear() == "asked");
    CHECK_THROWS_AS((void)handle.await_response(id, 1ms), Timeout);
    perl.say("leave");
    CHECK(perl.hear() == "left");
    if (!politely) perl.kill(SIGKILL);
    CHECK_THROWS_AS((void)handle.await_response(id).content(), PeerGone);
    CHECK(handle.sync_request("still", kHang).as<std::string>() == "still");
    if (politely) perl.say("end");
    (void)perl.wait();
  }
}
