// Behaviour of buses in databases only. The cases whose names begin with "server" need a server, which
// tests/support/servers.py starts.

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "contract.h"
#include "members.h"
#include "transport/database/drivers.h"

using namespace ipcm;
using namespace ipcm::test;
using database::Blob;
using database::Column;
using database::Value;
using database::Values;

namespace {

/// The connection of another program.
class Foreign {
 public:
  explicit Foreign(const std::string& file)
      : session_(database::load_driver("sqlite"), {{"file", file}}, os::Deadline::after(kHang), failure_) {
    REQUIRE_MESSAGE(session_, failure_.text);
  }
  std::vector<Values> run(const std::string& statement, const Values& given = {},
                          const std::vector<Column>& columns = {}) {
    const auto result = session_->run(statement, given, columns);
    REQUIRE_MESSAGE(!result.failure, result.failure.text);
    return result.rows;
  }
  database::OwnedSession& session() { return session_; }
  void add_peer(const std::string& id, Pid pid) {
    run("INSERT INTO ipcm_peers(id, pid, active) VALUES (:id, :pid, 1795380997.5)", {id, std::int64_t{pid}});
  }
  void add_message(const std::string& id, const std::string& to, const std::string& from, double stamp,
                   const Value& content) {
    run(R"(INSERT INTO ipcm_messages(id, "to", "from", stamp, content) VALUES (:id, :to, :from, :stamp, :content))",
        {id, to, from, stamp, content});
  }

 private:
  database::Failure failure_;
  database::OwnedSession session_;
};

SpawnOptions sqlite() {
  SpawnOptions options;
  options.protocols = {"SQLite"};
  return options;
}

bool readable(int fd, std::chrono::milliseconds limit) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, static_cast<int>(limit.count())) > 0;
}

std::string word(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr ? value : "";
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "driver: values are never statements, and come back as they were") {
  Foreign file(directory() + "/x.sqlite");
  file.run("CREATE TABLE x(name TEXT, bytes BLOB, number INTEGER, real REAL)");
  const std::string odd = "'; DROP TABLE x; -- \"\\ :name %s";
  const std::string bytes("a\0b\xff'", 5);
  file.run("INSERT INTO x VALUES (:a, :b, :c, :d)", {odd, Blob{bytes}, std::int64_t{1} << 40, 0.1});
  file.run("INSERT INTO x VALUES (:a, :b, :c, :d)", {Value(), Value(), Value(), Value()});
  const std::vector<Column> columns = {Column::text, Column::blob, Column::integer, Column::real};
  CHECK(file.run("SELECT name, bytes, number, real FROM x WHERE name = :name", {odd}, columns) ==
        std::vector<Values>{{odd, Blob{bytes}, std::int64_t{1} << 40, 0.1}});
  CHECK(file.run("SELECT name, bytes, number, real FROM x WHERE name IS NULL", {}, columns) ==
        std::vector<Values>{{Value(), Value(), Value(), Value()}});
  CHECK(file.session()->run("SELECT 1 WHERE :a = ''", {std::string("a\0b", 3)}, {Column::integer}).failure);
  const auto missing =
      file.session()->run("SELECT 1 FROM nowhere WHERE 'x' = :a", {"secret"}, {Column::integer});
  CHECK(missing.failure.kind == database::Failure::Kind::missing);
  CHECK_FALSE(contains(missing.failure.text, "secret"));  // SOCI's own texts quote statements and values
  std::filesystem::remove(directory() + "/x.sqlite");
}

TEST_CASE_FIXTURE(Tidy, "driver: one that is missing is named, with where it was looked for") {
  const std::string before = word("IPCM_DRIVERS");
  ::setenv("IPCM_DRIVERS", directory().c_str(), 1);
  CHECK(contains(database::why_no_driver("nonesuch"), directory()));
  CHECK(contains(thrown_by<BusError>([] { (void)database::load_driver("nonesuch"); }).what(),
                 "ipcm-driver-nonesuch.so"));
  write_file(directory() + "/ipcm-driver-broken.so", "no module");
  CHECK(database::why_no_driver("broken").empty());  // checks only that the file exists
  CHECK(
      contains(thrown_by<BusError>([] { (void)database::load_driver("broken"); }).what(), "can't be loaded"));
  std::filesystem::remove(directory() + "/ipcm-driver-broken.so");
  ::setenv("IPCM_DRIVERS", before.c_str(), 1);
}

TEST_CASE_FIXTURE(Tidy, "SQLite: the reference can read our rows") {
  const Guard guard = ipcm_spawn(sqlite());
  struct stat facts {};
  REQUIRE(::stat(guard.info().route.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777U) == 0600);
  Client a = ipcm_connect("a", guard.info());
  Forked process([](Lines& test) {
    test.hear();
    return 0;
  });
  Foreign perl(guard.info().route);
  perl.add_peer("perl", process.pid());
  const std::string id = a.send_message("perl", Content::json(R"({"gr\u00fc\u00df":[1]})"));
  CHECK(perl.run(R"(SELECT id, "to", "from", typeof(content), content, broadcast + 0 FROM ipcm_messages)", {},
                 {Column::text, Column::text, Column::text, Column::text, Column::blob, Column::integer}) ==
        std::vector<Values>{{id, "perl", "a", "blob", Blob{R"({"gr\u00fc\u00df":[1]})"}, std::int64_t{0}}});
  CHECK(perl.run("SELECT pid, active > 1.7e9 FROM ipcm_peers WHERE id = 'a'", {},
                 {Column::integer, Column::integer}) ==
        std::vector<Values>{{std::int64_t{::getpid()}, std::int64_t{1}}});
  a.disconnect();
  const auto row = perl.run("SELECT pid, active, typeof(stats), stats FROM ipcm_peers WHERE id = 'a'", {},
                            {Column::integer, Column::real, Column::text, Column::blob});
  CHECK(row == std::vector<Values>{{Value(), Value(), "blob", Blob{R"({"sent":{"perl":1},"read":{}})"}}});
  process.say("end");
  CHECK(process.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(
    Tidy, "SQLite: rows of the reference are read, and a row that is no message is dropped and reported") {
  const Guard guard = ipcm_spawn(sqlite());
  Client a = ipcm_connect("a", guard.info());
  std::vector<std::string> told;
  a.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  Foreign perl(guard.info().route);
  Forked process([](Lines& test) {
    test.hear();
    return 0;
  });
  perl.add_peer("perl", process.pid());
  CHECK(a.peers() == std::vector<std::string>{"perl"});
  CHECK(a.peer_pid("perl") == process.pid());
  perl.add_message("01A2050B-EF33-7769-9AB2-B6C36F6D7024", "a", "perl", 1795380997.93995, Blob{"\"one\""});
  perl.add_message("01A2050B-EF33-7769-9AB2-B6C36F6D7025", "a", "perl", 1795380997.93996, "\"two, as text\"");
  perl.add_message("bad-1", "a", "perl", 1, Blob{"{broken"});
  perl.add_message("bad-2", "a", "perl", 2, Blob{"null"});
  perl.add_message("bad-3", "a", "", 3, Blob{"1"});
  perl.run(
      R"(INSERT INTO ipcm_messages(id, "to", "from", stamp, content) VALUES (x'00ff', 'a', 'perl', 4, '1'))");
  const auto got = collect(a, 2);
  CHECK(got[0].content == Content("one"));
  CHECK(got[0].from == "perl");
  CHECK(got[0].stamp == 1795380997.93995);
  CHECK(got[1].content == Content("two, as text"));
  CHECK(a.get_messages().empty());
  CHECK(told.size() == 4);
  CHECK(perl.run("SELECT COUNT(*) FROM ipcm_messages", {}, {Column::integer}) ==
        std::vector<Values>{{std::int64_t{0}}});  // the second read removed the messages of the first
  process.kill(SIGKILL);
  process.await_end();
  CHECK(a.peers().empty());
  CHECK_FALSE(a.try_message("perl", 1));
  (void)process.wait();
}

TEST_CASE_FIXTURE(Tidy, "SQLite: a reader sleeps until any process writes") {
  const Guard guard = ipcm_spawn(sqlite());
  Client a = ipcm_connect("a", guard.info());
  Foreign perl(guard.info().route);
  while (readable(a.fd(), 0ms)) a.dispatch();  // the events of its own join
  CHECK_FALSE(readable(a.fd(), 300ms));
  perl.add_message("01A2050B-EF33-7769-9AB2-B6C36F6D7024", "a", "perl", 1, Blob{"1"});
  CHECK(readable(a.fd(), kHang));
  CHECK(collect(a, 1)[0].content.as<int>() == 1);
}

TEST_CASE_FIXTURE(Tidy, "SQLite: while another process holds its lock, a message waits, and then goes out") {
  const Guard guard = ipcm_spawn(sqlite());
  Client a = ipcm_connect("a", guard.info());
  const auto b = member(guard.info(), "b");
  Foreign perl(guard.info().route);
  perl.run("BEGIN EXCLUSIVE");
  Message message{"01A2050B-EF33-7769-9AB2-B6C36F6D7024", "b", "a", 1795380997, 0, false, Content("later")};
  CHECK(b->transport().send(message).sent == transport::Transport::Sent::queued);
  CHECK(b->transport().queued_messages() == 1);
  perl.run("COMMIT");
  CHECK(
      b->loop().run_until([&] { return b->transport().queued_messages() == 0; }, os::Deadline::after(kHang)));
  CHECK(collect(a, 1)[0].content == Content("later"));
}

TEST_CASE_FIXTURE(Tidy, "SQLite: a message that waited for the lock fails if its receiver is gone") {
  const Guard guard = ipcm_spawn(sqlite());
  Client a = ipcm_connect("a", guard.info());
  std::vector<std::string> told;
  a.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  Forked b(test::member("b", guard.info().text(), stays));
  CHECK(b.hear() == "joined");
  Foreign perl(guard.info().route);
  perl.run("BEGIN EXCLUSIVE");
  // The loop runs only while the message waits.
  const Watch meanwhile = a.member().loop().at(os::Clock::now(), [&] {
    b.kill(SIGKILL);
    b.await_end();
    perl.run("COMMIT");
  });
  const auto gone = thrown_by<PeerGone>([&] { a.send_message("b", 1); });
  CHECK(gone.peer() == "b");
  CHECK(contains(gone.what(), "its process is gone"));
  CHECK(told.empty());
  CHECK(a.statistics().sent.empty());
}

TEST_CASE_FIXTURE(Tidy, "SQLite: a file that existed before stays, without the tables of the bus") {
  const std::string route = directory() + "/given.sqlite";
  {
    Foreign file(route);
    file.run("CREATE TABLE theirs(x INTEGER)");
  }
  SpawnOptions options = sqlite();
  options.route = route;
  Guard guard = ipcm_spawn(options);
  { const Client a = ipcm_connect("a", guard.info()); }
  guard.shutdown();
  {
    Foreign file(route);
    CHECK(file.run("SELECT name FROM sqlite_master WHERE type = 'table'", {}, {Column::text}) ==
          std::vector<Values>{{"theirs"}});
  }
  CHECK(names_in(directory()) == std::vector<std::string>{"given.sqlite"});
  std::filesystem::remove(route);
}

TEST_CASE_FIXTURE(Tidy, "A10: a suspended peer's messages wait, and it takes its name up again") {
  SpawnOptions options = word("IPCM_TEST_ROUTE").empty() ? sqlite() : bus_options();
  const Guard guard = ipcm_spawn(options);
  Client b = ipcm_connect("b", guard.info());
  {
    const auto a = member(guard.info(), "a");
    b.send_message("a", "before");
    a->inbox().drain();
    CHECK_FALSE(a->inbox().empty());  // and does not take them
    a->transport().suspend({}, {});
  }
  CHECK(b.peers() == std::vector<std::string>{"a"});
  CHECK_FALSE(b.peer_active("a"));
  b.send_message("a", "during");
  CHECK_THROWS_AS((void)ipcm_connect("a", guard.info()), NameTaken);
  const auto a = member(guard.info(), "a", true);
  a->inbox().drain();
  const auto got = a->inbox().take();
  REQUIRE(got.size() == 2);
  CHECK(got[0].content == Content("before"));
  CHECK(got[1].content == Content("during"));
  CHECK(b.peer_active("a"));
  a->transport().requeue({got[1]});
  a->inbox().drain();
  const auto again = a->inbox().take();
  REQUIRE(again.size() == 1);
  CHECK(again[0].content == Content("during"));
  CHECK(again[0].id == got[1].id);
  // A suspended peer is dead after its deadline: another one gets the name, and no messages wait for it.
  a->transport().suspend({}, 1.0);
  CHECK(b.peers().empty());
  Client other = ipcm_connect("a", guard.info());
  CHECK(other.get_messages().empty());
}

TEST_CASE_FIXTURE(Tidy,
                  "B6: a static boot binary becomes its dynamic fallback where the bus needs a driver") {
  const Guard guard = ipcm_spawn(sqlite());
  const bool has_fallback = boot_program() != word("IPCM_TEST_BOOT_DYNAMIC");
  for (const bool secret : {false, true}) {
    CAPTURE(secret);
    ServiceOptions options = exec_echo();
    options.ipcm_info = guard.info();
    options.secret = secret;
    Handle handle = ipcm_service(secret ? "secret" : "open", options);
    CHECK(handle.sync_request("hello", kHang).as<std::string>() == "hello");
    REQUIRE(handle.service_pid());
    const std::string pid = std::to_string(*handle.service_pid());
    const std::string exe = std::filesystem::read_symlink("/proc/" + pid + "/exe");
    CHECK(exe.ends_with("-dynamic") == has_fallback);
    CHECK(contains(command_line(*handle.service_pid()), "\"name\"") == !secret);
    CHECK(handle.child_pid() == handle.service_pid());
  }
}

TEST_CASE_FIXTURE(Tidy, "B7: a static boot binary without its dynamic fallback fails with advice") {
  if (boot_program() == word("IPCM_TEST_BOOT_DYNAMIC")) return;  // the boot of this build is dynamic
  const std::string alone = directory() + "/alone";
  std::filesystem::copy_file(boot_program(), alone);
  {
    const Guard guard = ipcm_spawn(sqlite());
    ServiceOptions options = exec_echo();
    options.exec->path = alone;
    options.ipcm_info = guard.info();
    const auto error = thrown_by<LaunchError>([&] { (void)ipcm_service("e", options); });
    CHECK(contains(error.reason(), alone + "-dynamic"));
    CHECK(error.status() == ExitStatus::exited(69));
  }
  std::filesystem::remove(alone);
}

TEST_CASE_FIXTURE(Tidy, "server: names and contents are never statements") {
  const Guard guard = spawn_bus();
  for (const std::string name :
       {"x'; DROP TABLE ipcm_peers; --", "back\\' OR 1=1 -- ", "\"quoted\" `id` :to", "trailing "}) {
    CAPTURE(name);
    Client a = ipcm_connect(name, guard.info());
    Client b = ipcm_connect("b", guard.info());
    b.send_message(name, name);
    const auto got = collect(a, 1);
    CHECK(got[0].to == name);
    CHECK(got[0].content == Content(name));
    CHECK(b.peers() == std::vector<std::string>{name});
    CHECK_FALSE(b.peer_exists(name + " "));  // some servers compare without blanks at the end
    CHECK_FALSE(b.peer_exists("B"));         // or without case
  }
}

TEST_CASE_FIXTURE(Tidy, "server: a password appears in no output") {
  const std::string password = "not-the-pa55word";
  BusInfo info{protocol(), "JSON", bus_options().route, {}, {"tester", password}};
  const std::string refused = thrown_by<BusError>([&] { (void)ipcm_connect("a", info); }).what();
  CHECK_FALSE(contains(refused, password));
  CHECK_FALSE(contains(refused, word("IPCM_DB_PASSWORD")));
  CHECK_FALSE(contains(info.text(), password));
  info.route += ";password=" + password;
  const std::string in_route = thrown_by<BusError>([&] { (void)ipcm_connect("a", info); }).what();
  CHECK(contains(in_route, "IPCM_DB_PASSWORD"));
  CHECK_FALSE(contains(in_route, password));

  // A service by exec reads it from the environment, as this process does.
  const Guard guard = spawn_bus();
  ServiceOptions options = exec_echo();
  options.ipcm_info = guard.info();
  Handle handle = ipcm_service("e", options);
  CHECK(handle.sync_request("hello", kHang).as<std::string>() == "hello");
  CHECK_FALSE(contains(command_line(*handle.service_pid()), word("IPCM_DB_PASSWORD")));
}

TEST_CASE_FIXTURE(Tidy, "server: without a route there is nothing to make a bus in") {
  SpawnOptions options = bus_options();
  options.route.clear();
  CHECK(contains(thrown_by<BusError>([&] { (void)ipcm_spawn(options); }).what(), "route"));
}
