// JSONFile as other programs see it: the tests change the document as a peer of the reference does.

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "bus/member.h"
#include "contract.h"
#include "os/directory.h"
#include "os/time_limit.h"
#include "transport/file/sidecar.h"
#include "transport/json_file/document.h"
#include "transport/json_file/json_file.h"

using namespace ipcm;
using namespace ipcm::test;
using transport::JsonDocument;
using transport::Sidecar;

namespace {

Guard spawn() {
  SpawnOptions options;
  options.protocols = {"JSONFile"};
  return ipcm_spawn(options);
}
std::string message(const std::string& id, double stamp, const std::string& content) {
  return R"({"stamp":)" + std::to_string(stamp) + R"(,"id":)" + (id.empty() ? "null" : "\"" + id + "\"") +
         R"(,"broadcast":null,"content":)" + content + R"(,"to":"a","stamp_ord":"0","from":"perl"})";
}
/// Changes the document as the reference does: opens, locks, truncates, writes and closes the file.
void rewrite(const std::string& route, const std::function<std::string(JsonDocument)>& change) {
  const os::UniqueFd file(::open(route.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(file);
  REQUIRE(::flock(file.get(), LOCK_EX) == 0);
  const std::string text = change(JsonDocument::parse(read_file(route)));
  REQUIRE(::ftruncate(file.get(), 0) == 0);
  REQUIRE(::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}
void put(const std::string& route, const std::string& to, const std::string& text) {
  rewrite(route, [&](JsonDocument document) {
    transport::append_element(document.messages[to], text);
    return document.text();
  });
}
JsonDocument document_of(const std::string& route) { return JsonDocument::parse(read_file(route)); }
std::string journal_of(const std::string& route) { return Sidecar::path_of(route) + "/.journal"; }

}  // namespace

TEST_CASE_FIXTURE(Tidy, "JSONFile: the bus is one file of its user's, and names each client with its pid") {
  std::optional<Guard> guard(spawn());
  const std::string route = guard->info().route;
  CHECK(route.starts_with(directory() + "/ipcm-" + std::to_string(::getpid()) + "-"));
  CHECK(route.ends_with(".json"));
  CHECK(os::look_at(route).mode == 0600);
  CHECK(read_file(route) == R"({"clients":{},"messages":{},"stats":{}})");
  Client a = ipcm_connect("a/b", guard->info()), b = ipcm_connect("b", guard->info());
  auto document = document_of(route);
  CHECK(transport::JsonClient::parse(document.clients.at("a/b")).pid == ::getpid());
  CHECK(document.messages.at("a/b") == "[]");
  const std::string id = b.send_message("a/b", "gr\xc3\xbc\xc3\x9f");
  const std::string text = document_of(route).messages.at("a/b");
  CHECK(text.starts_with(R"([{"id":")" + id + R"(","from":"b","to":"a/b","stamp":)"));
  CHECK(text.ends_with(R"("content":"gr\u00fc\u00df"}])"));
  CHECK(collect(a, 1).size() == 1);
  CHECK(document_of(route).messages.at("a/b") == text);  // removed only by the next read
  CHECK(a.get_messages().empty());
  CHECK(document_of(route).messages.at("a/b") == "[]");
  a.disconnect();
  document = document_of(route);
  CHECK(document.clients.size() == 1);
  CHECK(document.messages.size() == 1);
  CHECK(document.stats.at("a/b") == R"({"sent":{},"read":{"b":1}})");
  CHECK(read_file(journal_of(route)).empty());
  guard.reset();
  CHECK(names_in(directory()).empty());
}

TEST_CASE_FIXTURE(Tidy, "JSONFile: a peer of the reference joins, sends, receives, suspends and dies") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  Client a = ipcm_connect("a", guard.info());
  Forked perl([&](Lines& test) {
    test.hear();
    rewrite(route, [](JsonDocument document) {
      document.clients["perl"] = "{\"pid\":\"" + std::to_string(::getpid()) + "\"}";
      document.others["later"] = "[1,{\"x\":null}]";
      // The reference writes keys in any order, and numbers as strings.
      return " {\"messages\":{\"perl\":[],\"a\":[]} , "
             "\"stats\":{},\"later\":[1,{\"x\":null}],\"clients\":{\"perl\":" +
             document.clients.at("perl") + ",\"a\":" + document.clients.at("a") + "}}\n";
    });
    test.hear();
    put(route, "a", message("01A2050B-EF33-7769-9AB2-B6C36F6D7024", 1795380997.5, "{\"x\":1}"));
    test.hear();
    return 0;
  });
  CHECK_FALSE(a.peer_active("perl"));
  perl.say("join");
  CHECK(a.peer_active("perl", kHang));  // woken by the file
  CHECK(a.peer_pid("perl") == perl.pid());
  perl.say("send");
  const auto got = a.wait_for_messages(kHang);
  REQUIRE(got.size() == 1);
  CHECK(got[0].from == "perl");
  CHECK(got[0].content.json() == R"({"x":1})");
  a.send_message("perl", 2);
  CHECK(transport::elements_of(document_of(route).messages.at("perl")).size() == 1);
  CHECK(document_of(route).others.at("later") == R"([1,{"x":null}])");  // unknown keys stay
  rewrite(route, [&](JsonDocument document) {
    document.clients["perl"] = R"({"pid":null})";
    return document.text();
  });
  a.send_message("perl", 3);
  CHECK(a.peers() == Strings{"perl"});
  CHECK_FALSE(a.peer_active("perl"));
  rewrite(route, [&](JsonDocument document) {
    document.clients["perl"] = R"({"pid":)" + std::to_string(perl.pid()) + "}";
    return document.text();
  });
  CHECK(a.peer_active("perl", kHang));
  const std::uint64_t seen = a.member().peer_changes();
  perl.kill(SIGKILL);
  CHECK(a.member().loop().run_until([&] { return a.member().peer_changes() != seen; },
                                    os::Deadline::after(kHang)));
  perl.await_end();
  CHECK_FALSE(a.try_message("perl", 4));
  CHECK(a.peers().empty());
  CHECK(document_of(route).clients.contains("perl"));  // it has unread messages
  rewrite(route, [&](JsonDocument document) {
    document.messages["perl"] = "[]";
    return document.text();
  });
  CHECK(a.peers().empty());
  CHECK_FALSE(document_of(route).clients.contains("perl"));
}

TEST_CASE_FIXTURE(Tidy, "JSONFile: if its owner removed only the file, our last member removes the rest") {
  write_file(directory() + "/PerlIPCMgr.json", R"({"stats":{},"clients":{},"messages":{}})");
  const BusInfo info{"JSONFile", "JSON", directory() + "/PerlIPCMgr.json"};
  std::optional<Client> a(ipcm_connect("a", info)), b(ipcm_connect("b", info));
  a->send_message("b", 1);
  CHECK(collect(*b, 1).size() == 1);
  REQUIRE(::unlink(info.route.c_str()) == 0);
  CHECK_FALSE(a->try_message("b", 2));
  CHECK(b->get_messages().empty());
  a.reset();
  CHECK(names_in(directory()) == Strings{".PerlIPCMgr.json.ipcm"});
  b.reset();
  CHECK(names_in(directory()).empty());
}

TEST_CASE_FIXTURE(Tidy, "JSONFile: the journal repairs a change that a writer left half done") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  b.send_message("a", 1);
  const std::string whole = read_file(route);
  const std::string journal = std::to_string(whole.size()) + "\n" + whole;
  const auto lay = [&](const std::string& file, const std::string& kept) {
    write_file(journal_of(route), kept);
    write_file(route, file);
  };
  SUBCASE("killed before it wrote the file") { lay("", journal); }
  SUBCASE("killed while it wrote the file") { lay(whole.substr(0, whole.size() / 2), journal); }
  SUBCASE("killed before it emptied the journal") { lay(whole, journal); }
  SUBCASE("killed while it wrote the journal") { lay(whole, journal.substr(0, journal.size() / 2)); }
  SUBCASE("killed before the length of the journal was whole") { lay(whole, "1"); }
  CHECK(a.peers() == Strings{"b"});
  b.send_message("a", 2);
  CHECK(collect_contents(a, 2) == Strings{"1", "2"});
  CHECK(read_file(journal_of(route)).empty());
  CHECK_NOTHROW((void)document_of(route));
}

TEST_CASE_FIXTURE(Tidy, "F4: a broken document without a journal is an error, and can be repaired") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  const std::string whole = read_file(route);
  for (const char* broken : {"{", "[1]", "{\"clients\":7}", "\x01\xff", R"({"clients":{},"clients":{}})"}) {
    CAPTURE(std::string(broken));
    write_file(route, broken);
    const auto before = a.dropped();
    (void)a.get_messages();
    CHECK(a.dropped() == before + 1);
    CHECK_THROWS_AS(b.send_message("a", 1), ProtocolError);
    CHECK_THROWS_AS((void)ipcm_connect("c", guard.info()), ProtocolError);
    CHECK(read_file(route) == broken);
    write_file(route, whole);
    b.send_message("a", 2);
    CHECK(collect_contents(a, 1) == Strings{"2"});
    CHECK(a.get_messages().empty());
  }
}

TEST_CASE_FIXTURE(Tidy, "F4: a file that is no message is reported once, removed, and disturbs nothing") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  Client a = ipcm_connect("a", guard.info());
  for (const char* garbage : {"1", "null", "[]", "{}", R"({"id":"x","content":1})", R"({"from":"x"})"}) {
    CAPTURE(std::string(garbage));
    const auto before = a.dropped();
    put(route, "a", garbage);
    put(route, "a", message("", 1795380997, "\"without id\""));
    CHECK(collect_contents(a, 1) == Strings{"\"without id\""});
    CHECK(a.dropped() == before + 1);
    CHECK(a.get_messages().empty());
    CHECK(a.dropped() == before + 1);
    CHECK(document_of(route).messages.at("a") == "[]");
  }
}

TEST_CASE_FIXTURE(Tidy, "JSONFile: messages come in the order of their stamps, equal ones each") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  Client a = ipcm_connect("a", guard.info());
  const std::string twice = message("", 1795380997.75, "3");
  rewrite(route, [&](JsonDocument document) {
    document.messages["a"] = "[ " + message("x", 1795380997.5, "2") + "," + message("x", 1795380997.25, "1") +
                             "," + twice + "," + twice + " ]";
    return document.text();
  });
  CHECK(collect_contents(a, 4) == Strings{"1", "2", "3", "3"});
  CHECK(a.get_messages().empty());
  CHECK(document_of(route).messages.at("a") == "[]");
}

TEST_CASE_FIXTURE(Tidy, "JSONFile: a process that keeps the file locked does not stop a loop") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  Client a = ipcm_connect("a", guard.info());
  Forked other([&](Lines& test) {
    const os::UniqueFd file(::open(route.c_str(), O_RDWR | O_CLOEXEC));
    (void)::flock(file.get(), LOCK_EX);
    auto document = JsonDocument::parse(read_file(route));
    transport::append_element(document.messages["a"], message("x", 1795380997, "1"));
    const std::string text = document.text();
    { const os::UniqueFd wakes(::open(route.c_str(), O_RDWR | O_CLOEXEC)); }
    test.say("locked");
    test.hear();
    (void)!::ftruncate(file.get(), 0);
    (void)!::write(file.get(), text.data(), text.size());
    return 0;
  });
  CHECK(other.hear() == "locked");
  for (int i = 0; i < 10; ++i) a.dispatch();
  CHECK(a.member().inbox().empty());
  other.say("write");
  CHECK(collect_contents(a, 1) == Strings{"1"});
  CHECK(other.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "JSONFile: while the file is locked, listing peers fails and names the holder") {
  struct Deaf final : transport::Receiver {
    void incoming(wire::IncomingMessage) override {}
    void link_lost(const std::string&) override {}
    void peers_changed() override {}
    void dropped(const std::string&) override {}
  } deaf;
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  const Client a = ipcm_connect("a", guard.info());
  Loop loop;
  transport::JoinRequest request;
  request.info = guard.info();
  request.anonymous = true;
  request.serializer = wire::make_serializer(request.info);
  transport::JsonFile visitor(request, loop, deaf, 50ms);
  Forked other([&](Lines& test) {
    const os::UniqueFd file(::open(route.c_str(), O_RDWR | O_CLOEXEC));
    (void)::flock(file.get(), LOCK_EX);
    test.say("locked");
    test.hear();
    return 0;
  });
  CHECK(other.hear() == "locked");
  for (const bool one : {true, false}) {
    const std::string told = thrown_by<BusError>([&] {
                               if (one)
                                 (void)visitor.look("a");
                               else
                                 (void)visitor.peers();
                             }).what();
    CHECK(contains(told, route));
    CHECK(contains(told, "process " + std::to_string(other.pid()) + ", which does not release it"));
  }
  other.say("let go");
  CHECK(other.wait() == ExitStatus::exited(0));
  CHECK(visitor.look("a").state == transport::PeerFacts::State::active);
  CHECK(visitor.peers() == Strings{"a"});
}

TEST_CASE_FIXTURE(Tidy, "G8: while another process locks the file, limits hold, and a message waits") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  Forked other([&](Lines& test) {
    const os::UniqueFd file(::open(route.c_str(), O_RDWR | O_CLOEXEC));
    (void)::flock(file.get(), LOCK_EX);
    test.say("locked");
    test.hear();
    return 0;
  });
  CHECK(other.hear() == "locked");
  const auto start = os::Clock::now();
  {
    const os::TimeLimit limit(os::Deadline::after(200ms));
    CHECK_THROWS_AS((void)ipcm_connect("c", guard.info()), Timeout);
    CHECK_THROWS_AS((void)a.peers(), Timeout);
    CHECK_THROWS_AS((void)a.send_message("b", 1), Timeout);
  }
  CHECK(a.wait_for_messages(100ms).empty());
  CHECK_THROWS_AS((void)a.peer_active("b", 100ms), Timeout);
  CHECK(os::Clock::now() - start < transport::JsonFile::kPatience);
  // A member that queues instead of waiting, such as a service, goes on and sends the message later.
  transport::JoinRequest request;
  request.info = guard.info();
  request.name = "d";
  request.anonymous = true;
  other.say("let go");
  CHECK(other.wait() == ExitStatus::exited(0));
  bus::Member d(request, std::make_shared<Loop>(), bus::Member::Sending::queues);
  {
    const os::UniqueFd file(::open(route.c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(::flock(file.get(), LOCK_EX) == 0);
    d.sender().send("b", Content(2));
    d.sender().send("b", Content(3));
    CHECK(d.transport().queued_messages() == 2);
  }
  CHECK(d.loop().run_until([&] { return d.transport().queued_messages() == 0; }, os::Deadline::after(kHang)));
  CHECK(collect_contents(b, 2) == Strings{"2", "3"});
}

TEST_CASE_FIXTURE(Tidy, "F5: one that does not read is bounded, and has room again once it has") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  put(route, "a", message("x", 1795380997, "\"" + std::string((16UL << 20U) - 1000, 'x') + "\""));
  std::string why;
  CHECK_FALSE(b.try_message("a", std::string(1000, 'y'), &why));
  CHECK(contains(why, "does not read"));
  CHECK(b.try_message("b", "others are not affected"));
  CHECK(collect(b, 1).size() == 1);
  CHECK(collect(a, 1).size() == 1);
  CHECK(a.get_messages().empty());
  CHECK(b.try_message("a", 1));
  CHECK(collect(a, 1).size() == 1);
}
