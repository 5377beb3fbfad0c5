// UnixSocket: the bytes of the reference in both directions, datagrams that no honest peer would send, large
// messages, readers that stall or are replaced.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <functional>

#include "foreign.h"
#include "os/pipe.h"
#include "os/process.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

constexpr std::size_t kLargest = 65536;
constexpr std::size_t kMiB = 1024UL * 1024;

sockaddr_un address_in(const BusInfo& bus, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = bus.route + "/" + name;
  REQUIRE(path.size() < sizeof address.sun_path);
  path.copy(&address.sun_path[0], path.size());
  return address;
}

/// A sender as the reference's is: an unbound socket, connected.
class Raw {
 public:
  Raw(const BusInfo& bus, const std::string& peer)
      : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    const auto address = address_in(bus, peer);
    REQUIRE(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  void send(const std::string& bytes, const std::vector<int>& descriptors = {}) {
    iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control{};
    if (!descriptors.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
      cmsghdr* head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
      std::memcpy(CMSG_DATA(head), descriptors.data(), descriptors.size() * sizeof(int));
    }
    REQUIRE(::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }

 private:
  os::UniqueFd socket_;
};

/// A reader as the reference's is.
class ForeignPeer {
 public:
  ForeignPeer(const BusInfo& bus, const std::string& name)
      : bus_(bus), name_(name), socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    const auto address = address_in(bus, name);
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    announce_foreign(bus, name, ::getpid());
  }
  ForeignPeer(ForeignPeer&&) = default;
  ~ForeignPeer() {
    if (socket_) remove_foreign(bus_, name_);
  }
  /// The next datagram, through the reference's 65536 bytes.
  std::string hear() {
    REQUIRE(readable(socket_.get()));
    std::string bytes(kLargest, '\0');
    const auto got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    REQUIRE(got >= 0);
    bytes.resize(static_cast<std::size_t>(got));
    return bytes;
  }
  [[nodiscard]] bool heard_nothing() const {
    char byte = 0;
    return ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
  }

 private:
  BusInfo bus_;
  std::string name_;
  os::UniqueFd socket_;
};

std::string large_note(std::uint64_t size) {
  std::string note("\0ipcm\1", 6);
  for (int shift = 56; shift >= 0; shift -= 8) note.push_back(static_cast<char>(size >> shift & 0xff));
  return note;
}
os::UniqueFd unsealed(const std::string& content) {
  os::UniqueFd file(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  os::write_all(file.get(), content, "memory file");
  return file;
}

struct Garbage {
  std::string what;
  std::function<void(Raw&)> send;
  bool told = true;  ///< It is worth a diagnostic.
};

std::vector<Garbage> all_garbage() {
  const auto plain = [](const std::string& bytes) { return [=](Raw& raw) { raw.send(bytes); }; };
  const std::string good = wire_message(R"("from":"raw","content":"large")");
  const auto with = [](const std::string& bytes, const std::function<os::UniqueFd()>& file, bool receipt) {
    return [=](Raw& raw) {
      const os::UniqueFd first = file();
      const os::Pipe pipe = os::make_pipe();
      raw.send(bytes,
               receipt ? std::vector<int>{first.get(), pipe.write_end.get()} : std::vector<int>{first.get()});
    };
  };
  const auto sealed = [=] { return os::make_sealed_memory_file("test", good); };
  return {
      {"nothing", plain(""), false},
      {"no JSON", plain("\x01\x02\x03 garbage")},
      {"a NUL", plain(std::string(1, '\0'))},
      {"an array", plain("[]")},
      {"a number", plain("7")},
      {"a truncated message", plain(good.substr(0, good.size() / 2))},
      {"a message and more", plain(good + good)},
      {"no sender", plain(wire_message(R"("content":1)"))},
      {"an empty sender", plain(wire_message(R"("from":"","content":1)"))},
      {"no content", plain(wire_message(R"("from":"raw")"))},
      {"null", plain(wire_message(R"("from":"raw","content":null)"))},
      {"nested too deep", plain(std::string(50000, '['))},
      {"ConnectionUnix's hello", plain(std::string("\0\0\0\x0f{\"hello\":\"raw\"}", 19))},
      {"one byte too many", plain(wire_message_of(kLargest + 1))},
      {"far too long", plain(wire_message_of(150000))},
      {"the mark of a large message, nothing with it", plain(large_note(good.size()))},
      {"a large message without a receipt", with(large_note(good.size()), sealed, false)},
      {"a large message of another size", with(large_note(good.size() + 1), sealed, true)},
      {"half a mark of a large message", with(large_note(good.size()).substr(0, 9), sealed, true)},
      {"a large message that could still change",
       with(
           large_note(good.size()), [=] { return unsealed(good); }, true)},
      {"a large message in a pipe",
       with(
           large_note(good.size()), [] { return os::make_pipe().read_end; }, true)},
      {"a large message in a directory",
       with(
           large_note(good.size()), [] { return os::UniqueFd(::open("/", O_RDONLY | O_CLOEXEC)); }, true)},
      {"a large message beyond the limit",
       [](Raw& raw) {
         os::UniqueFd file = unsealed("");
         REQUIRE(::ftruncate(file.get(), 65L * 1024 * 1024) == 0);
         REQUIRE(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE) == 0);
         const os::Pipe pipe = os::make_pipe();
         raw.send(large_note(65 * kMiB), {file.get(), pipe.write_end.get()});
       }},
      {"a large message with more descriptors",
       [=](Raw& raw) {
         const os::UniqueFd file = sealed();
         const os::Pipe pipe = os::make_pipe();
         raw.send(large_note(good.size()), {file.get(), pipe.write_end.get(), pipe.read_end.get(), 0, 0});
       }},
      {"a large message that is no JSON",
       with(
           large_note(7), [] { return os::make_sealed_memory_file("test", "garbage"); }, true)},
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

TEST_CASE_FIXTURE(Tidy, "wire: a message as the reference sends it is understood") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("service_parent_15745", guard.info());
  Raw raw(guard.info(), "service_parent_15745");
  raw.send(
      R"({"content":{"response":{"got":"hello","list":[1,"2",null]},"ipcm_response_id":"01A2050B-EF33-7C54-B7BE-570FED48A938"},"from":"svc","stamp_ord":0,"to":"service_parent_15745","id":"01A2050B-EF36-740F-A83D-00A7E4F30A23","stamp":1795380997.94263})");
  raw.send("");  // ends a round of the reference's reader, and means nothing
  raw.send(R"( {"from":"svc","content":"\u20ac","stamp":"1795380998"} )");
  const auto got = collect(target, 2);
  CHECK(got[0].from == "svc");
  CHECK(got[0].id == "01A2050B-EF36-740F-A83D-00A7E4F30A23");
  CHECK(contains(got[0].content.json(), R"("list":[1,"2",null])"));
  CHECK(got[1].content.as<std::string>() == "\xe2\x82\xac");
  CHECK(target.dropped() == 0);
}

TEST_CASE_FIXTURE(
    Tidy, "wire: what we send to a foreign peer is one datagram of one JSON object, and nothing else") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  ForeignPeer perl(guard.info(), "perl");
  CHECK(a.peers() == std::vector<std::string>{"perl"});
  CHECK(a.peer_active("perl"));
  a.send_message("perl", "gr\xc3\xbc\xc3\x9f e");
  a.broadcast(Content::json("[1]"));
  const std::string first = perl.hear();
  CHECK(first.front() == '{');
  CHECK(first.back() == '}');
  CHECK(contains(first, R"("from":"a")"));
  CHECK(contains(first, R"("content":"gr\u00fc\u00df e")"));
  CHECK(contains(perl.hear(), R"("broadcast":1)"));
  CHECK(perl.heard_nothing());
}

TEST_CASE_FIXTURE(Tidy,
                  "wire: a foreign peer gets up to 65536 bytes; more is refused, with size, limit and name") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  ForeignPeer perl(guard.info(), "perl");
  a.send_message("perl", "");
  const std::size_t room = kLargest - perl.hear().size();
  // The numbers in a message may be a digit longer or shorter.
  a.send_message("perl", std::string(room - 10, 'x'));
  const std::string got = perl.hear();
  CHECK(got.size() > kLargest - 20);
  CHECK(contains(got, std::string(room - 10, 'x') + "\""));
  const std::string text =
      thrown_by<ProtocolError>([&] { a.send_message("perl", std::string(room + 10, 'x')); }).what();
  CHECK(contains(text, "'perl'"));
  CHECK(contains(text, "65536"));
  CHECK(contains(text, "6554"));
  std::string why;
  CHECK_FALSE(a.try_message("perl", std::string(10 * kMiB, 'x'), &why));
  CHECK(contains(why, "65536"));
  CHECK(a.statistics().sent.at("perl") == 2);
  // A try of ours to have its name makes it none of ours.
  Forked thief([&](Lines& test) {
    try {
      (void)ipcm_connect("perl", guard.info());
      test.say("has it");
    } catch (const NameTaken&) {
      test.say("taken");
    }
    return 0;
  });
  CHECK(thief.hear() == "taken");
  CHECK(thief.wait() == ExitStatus::exited(0));
  CHECK_FALSE(a.try_message("perl", std::string(kMiB, 'x')));
  a.send_message("perl", 2);
  CHECK(contains(perl.hear(), R"("content":2)"));
  CHECK(perl.heard_nothing());
}

TEST_CASE_FIXTURE(Tidy,
                  "wire: a datagram of 65536 bytes is read; one of 65537 is dropped, and its size told") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  std::vector<std::string> told;
  target.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  Raw raw(guard.info(), "target");
  raw.send(wire_message_of(kLargest));
  CHECK(collect(target, 1)[0].content.as<std::string>().size() > 65000);
  raw.send(wire_message_of(kLargest + 1));
  serve_until_silent(target);
  CHECK(target.get_messages().empty());
  REQUIRE(told.size() == 1);
  CHECK(contains(told[0], "65537"));
  CHECK(contains(told[0], std::to_string(::getpid())));
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
      garbage.send(raw);
      serve_until_silent(target);
      CHECK(told.size() == (garbage.told ? 1 : 0));
      CHECK(target.get_messages().empty());
      raw.send(wire_message(R"("from":"raw","content":"same sender")"));
      CHECK(collect(target, 1)[0].content.as<std::string>() == "same sender");
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
    garbage.send(raw);
    CHECK(handle.sync_request(garbage.what, kHang).as<std::string>() == garbage.what);
    await_idle(pid);
  }
  CHECK(descriptors_of(pid).size() == descriptors);
}

TEST_CASE_FIXTURE(Tidy, "F4: a message that brings descriptors along is read, and they are closed") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  Raw raw(guard.info(), "target");
  os::Pipe pipe = os::make_pipe();
  raw.send(wire_message(R"("from":"raw","content":1)"), {pipe.write_end.get()});
  pipe.write_end.reset();
  CHECK(collect(target, 1)[0].content.as<int>() == 1);
  CHECK_FALSE(os::has_writer(pipe.read_end.get()));
}

TEST_CASE_FIXTURE(Tidy, "F7: a datagram of another user is refused, and told") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can be somebody else");
    return;
  }
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  std::vector<std::string> told;
  target.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  // Nobody else could even reach the socket, unless somebody opened the doors.
  for (const std::string& path : {directory(), guard.info().route, guard.info().route + "/target"})
    REQUIRE(::chmod(path.c_str(), 0777) == 0);
  constexpr uid_t kSomebody = 54321;
  Forked other([&](Lines& test) {
    if (::setuid(kSomebody) != 0) return 1;
    Raw(guard.info(), "target").send(wire_message(R"("from":"root","content":1)"));
    test.say("sent");
    return 0;
  });
  CHECK(other.hear() == "sent");
  CHECK(other.wait() == ExitStatus::exited(0));
  serve_until_silent(target);
  CHECK(target.get_messages().empty());
  REQUIRE(told.size() == 1);
  CHECK(contains(told[0], "54321"));
}

TEST_CASE_FIXTURE(Tidy, "large: messages between ours go whole and in order, whatever their size") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const std::vector<std::size_t> sizes = {1,      65000, 65300, 65536,     65537, 70000,    3,        212000,
                                          213000, 5,     kMiB,  30 * kMiB, 1,     5 * kMiB, 5 * kMiB, 2};
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

TEST_CASE_FIXTURE(Tidy, "large: beyond 64 MiB is refused") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const Client b = ipcm_connect("b", guard.info());
  CHECK(contains(thrown_by<ProtocolError>([&] { a.send_message("b", std::string(64 * kMiB, 'x')); }).what(),
                 "67108864"));
}

TEST_CASE_FIXTURE(
    Tidy, "large: what a sender had sent when it was killed is whole, and nothing else is left of it") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const auto files = names_in(guard.info().route);
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    client.send_message("a", 1);
    client.send_message("a", std::string(10 * kMiB, 'x'));
    test.say("sent");
    client.send_message("a", std::string(10 * kMiB, 'y'));  // waits for the first to be read
    test.say("never");
    return 0;
  });
  CHECK(b.hear() == "sent");
  const auto descriptors = open_descriptors();
  await_idle(b.pid());
  b.kill(SIGKILL);
  CHECK(b.wait() == ExitStatus::signalled(SIGKILL));
  const auto got = collect(a, 2);
  REQUIRE(got.size() == 2);
  CHECK(got[1].content.as<std::string>() == std::string(10 * kMiB, 'x'));
  serve_until_silent(a);
  CHECK(take_all(a).empty());
  CHECK(a.peers().empty());
  CHECK(names_in(guard.info().route) == files);
  CHECK(open_descriptors() == descriptors);
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
    CHECK(os::resident_memory(pid).value() < before + 200 * kMiB);
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
  CHECK(handle.sync_request<int>(1000, kHang) > 0);
  (void)collect(ear, 1);
  reader.kill(SIGKILL);
  CHECK(reader.wait() == ExitStatus::signalled(SIGKILL));
  // Its queue is noticed to be in vain without anybody sending.
  await_idle(handle.service_pid().value());
  CHECK(contains(read_file(directory() + "/log"), "were not delivered"));
  CHECK(handle.sync_request("still", kHang).as<std::string>() == "still");
  CHECK(handle.sync_request<int>(1000, kHang) == 0);
  guard.shutdown();
  (void)::unlink((directory() + "/log").c_str());
}

TEST_CASE_FIXTURE(
    Tidy,
    "replaced: a successor is reached at once, also if its predecessor's socket is still open somewhere") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  ForeignPeer first(guard.info(), "perl");  // and stays open, as in a worker of the reference's
  a.send_message("perl", 1);
  remove_foreign(guard.info(), "perl");
  CHECK_THROWS_AS(a.send_message("perl", 2), PeerGone);
  ForeignPeer second(guard.info(), "perl");
  a.send_message("perl", 3);
  CHECK(contains(second.hear(), R"("content":3)"));
  CHECK(contains(first.hear(), R"("content":1)"));
  CHECK(first.heard_nothing());
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

TEST_CASE_FIXTURE(Tidy, "A3: many senders at once: each one's messages in order, none lost") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  constexpr int kSenders = 4, kEach = 500;
  std::vector<std::unique_ptr<Forked>> senders;
  for (int i = 0; i < kSenders; ++i)
    senders.push_back(std::make_unique<Forked>([&, i](Lines&) {
      Client one = ipcm_connect("one" + std::to_string(i), guard.info());
      Client two = ipcm_connect("two" + std::to_string(i), guard.info());
      for (int n = 0; n < kEach; ++n) {
        one.send_message("a", n);
        two.send_message("a", n);
      }
      return 0;
    }));
  std::map<std::string, int> next;
  for (const Message& message : collect(a, kSenders * 2 * kEach))
    REQUIRE(message.content.as<int>() == next[message.from]++);
  CHECK(next.size() == kSenders * 2);
  for (auto& sender : senders) CHECK(sender->wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "D4: a foreign peer that leaves, or dies, before it answers is PeerGone") {
  Handle handle = start("e", echoing());
  for (const bool politely : {true, false}) {
    CAPTURE(politely);
    Forked perl([&](Lines& test) {
      ForeignPeer peer(handle.info(), "perl");
      test.say("joined");
      const auto request = peer.hear();
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

TEST_CASE_FIXTURE(
    Tidy, "D4: what is asked of a successor is not mixed up with what its predecessor did not answer") {
  Handle handle = start("e", echoing());
  ServiceOptions mute;
  mute.handle_request = [](Service&, const Request&) -> Answer { return later; };
  Handle first = start_on(handle.info(), "s", mute);
  const std::string lost = handle.send_request("s", 1);
  const Pid pid = first.service_pid().value();
  ::kill(pid, SIGKILL);
  await_end(pid);
  Handle second = start_on(handle.info(), "s", echoing());
  // The handle's loop has not run since: it learns of the death when it asks again.
  const std::string answered = handle.send_request("s", 2);
  CHECK(handle.await_response(answered, kHang).as<int>() == 2);
  CHECK_THROWS_AS((void)handle.await_response(lost, kHang).content(), PeerGone);
}
