// A bus on a server when connections are cut, tables are locked or dropped, or another process wants the
// database. Run by tests/support/servers.py.

#include <csignal>

#include "client/pending_requests.h"
#include "contract.h"
#include "members.h"
#include "os/time_limit.h"
#include "transport/database/drivers.h"
#include "transport/database/dsn.h"

using namespace ipcm;
using namespace ipcm::test;
using database::Column;
using database::Values;

namespace {

bool is_postgresql() { return protocol() == "PostgreSQL"; }

/// The connection of another process to the database of the bus.
class Administrator {
 public:
  Administrator() : session_(open(failure_)) { REQUIRE_MESSAGE(session_, failure_.text); }
  std::vector<Values> run(const std::string& statement, const std::vector<Column>& columns = {}) {
    const auto result = session_->run(statement, {}, columns);
    REQUIRE_MESSAGE(!result.failure, result.failure.text);
    return result.rows;
  }
  /// Ends all other connections, as an administrator or a restart of the server does.
  void cut_all() {
    if (is_postgresql()) {
      run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
          "datname = current_database()");
      return;
    }
    for (const Values& row :
         run("SELECT id FROM information_schema.processlist WHERE user = 'tester' AND id <> "
             "CONNECTION_ID()",
             {Column::text}))
      (void)session_->run("KILL " + std::get<std::string>(row[0]), {}, {});
  }
  void lock_messages() {
    if (is_postgresql()) {
      run("BEGIN");
      run("LOCK TABLE ipcm_messages IN ACCESS EXCLUSIVE MODE");
    } else {
      run("LOCK TABLES ipcm_messages WRITE");
    }
  }
  void unlock() { run(is_postgresql() ? "ROLLBACK" : "UNLOCK TABLES"); }
  std::vector<std::string> tables() {
    std::vector<std::string> names;
    for (const Values& row :
         run("SELECT table_name FROM information_schema.tables WHERE table_schema = " +
                 std::string(is_postgresql() ? "current_schema()" : "DATABASE()") + " ORDER BY table_name",
             {Column::text}))
      names.push_back(std::get<std::string>(row[0]));
    return names;
  }

 private:
  static database::OwnedSession open(database::Failure& failure) {
    const database::RouteForm form = {
        {"pg", "mariadb", "mysql"},
        {{"dbname", "dbname"}, {"database", "dbname"}, {"host", "host"}, {"mariadb_socket", "unix_socket"}},
        "dbname"};
    auto parameters = database::read_route(bus_options().route, form);
    database::add_credentials(parameters, {});
    return {database::load_driver(is_postgresql() ? "postgresql" : "mariadb"), parameters,
            os::Deadline::after(kHang), failure};
  }
  database::Failure failure_;
  database::OwnedSession session_;
};

/// Returns the time that the call takes.
template <class Call>
std::chrono::milliseconds time_of(Call&& call) {
  const auto start = os::Clock::now();
  call();
  return std::chrono::duration_cast<std::chrono::milliseconds>(os::Clock::now() - start);
}

ServiceOptions echo_options() {
  ServiceOptions options;
  options.handle_request = [](Service&, const Request& request) -> Answer { return request.raw(); };
  return options;
}

}  // namespace

TEST_CASE_FIXTURE(
    Tidy, "server: A10, G4: a member whose connection was cut returns under its name, with its messages") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client b = ipcm_connect("b", guard.info());
  Administrator administrator;
  const auto before = administrator.run("SELECT id, pid, active FROM ipcm_peers ORDER BY id",
                                        {Column::text, Column::integer, Column::real});
  a.send_message("b", "before");
  administrator.cut_all();
  a.send_message("b", "after");
  const auto got = collect(b, 2);
  CHECK(got[0].content == Content("before"));
  CHECK(got[1].content == Content("after"));
  CHECK(a.peers() == std::vector<std::string>{"b"});
  CHECK(b.peer_active("a", kHang));
  CHECK(administrator.run("SELECT id, pid, active FROM ipcm_peers ORDER BY id",
                          {Column::text, Column::integer, Column::real}) == before);
  CHECK_THROWS_AS((void)ipcm_connect("a", guard.info()), NameTaken);
}

TEST_CASE_FIXTURE(Tidy,
                  "server: G4: a service answers after its connection was cut, and its requester's was") {
  const Guard guard = spawn_bus();
  Handle echo = start_on(guard.info(), "e", echo_options());
  CHECK(echo.sync_request("e", 1, kHang).as<int>() == 1);
  Administrator administrator;
  for (int i = 2; i < 5; ++i) {
    administrator.cut_all();
    CHECK(echo.sync_request("e", i, kHang).as<int>() == i);
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "server: G4: a reader that waits without a limit goes on after its connection was cut") {
  const Guard guard = spawn_bus();
  Forked reader([info = guard.info().text()](Lines& test) {
    Client client = ipcm_connect("reader", info);
    test.say("joined");
    test.say(client.wait_for_messages().at(0).content.as<std::string>());
    return 0;
  });
  CHECK(reader.hear() == "joined");
  Administrator().cut_all();
  Client writer = ipcm_connect("writer", guard.info());
  CHECK(writer.peer_active("reader", kHang));
  writer.send_message("reader", "hello");
  CHECK(reader.hear() == "hello");
  CHECK(reader.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "server: G1: a service that was cut off and ends takes no bus away") {
  const Guard guard = spawn_bus();
  Handle first = start_on(guard.info(), "first", echo_options());
  Handle second = start_on(guard.info(), "second", echo_options());
  Administrator administrator;
  administrator.cut_all();
  REQUIRE(first.child_pid());
  ::kill(*first.child_pid(), SIGTERM);
  Client other = ipcm_connect("other", guard.info());
  CHECK(second.sync_request("second", "still here", kHang).as<std::string>() == "still here");
  CHECK(administrator.tables() == std::vector<std::string>{"ipcm_messages", "ipcm_ours", "ipcm_peers"});
}

TEST_CASE_FIXTURE(Tidy, "server: G3: a second owner of a running bus is refused, and harms nothing") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  CHECK(contains(thrown_by<BusError>([] { (void)spawn_bus(); }).what(), "already"));
  Client b = ipcm_connect("b", guard.info());
  a.send_message("b", 1);
  CHECK(collect(b, 1)[0].content.as<int>() == 1);
}

TEST_CASE_FIXTURE(Tidy, "server: G3: a bus without an owner but with members refuses a new owner") {
  SpawnOptions options = bus_options();
  options.guard = false;
  const BusInfo info = ipcm_spawn(options).info();
  {
    Client a = ipcm_connect("a", info);
    CHECK(contains(thrown_by<BusError>([] { (void)spawn_bus(); }).what(), "'a'"));
    CHECK(a.peers().empty());
  }
  Guard now = spawn_bus();  // the bus has no members now
  now.shutdown();
  CHECK(Administrator().tables().empty());
}

TEST_CASE_FIXTURE(Tidy, "server: G1: a database that is no bus is refused by every call, and not changed") {
  Administrator administrator;
  const BusInfo info{protocol(), "JSON", bus_options().route, {}, {}};
  const std::vector<std::string> mine = {"ipcm_peers", "theirs"};
  administrator.run("CREATE TABLE theirs(x INTEGER)");
  administrator.run("CREATE TABLE ipcm_peers(id INTEGER, colour INTEGER)");
  CHECK(contains(thrown_by<BusError>([&] { (void)ipcm_connect("a", info); }).what(), "no bus"));
  CHECK_THROWS_AS((void)spawn_bus(), BusError);
  CHECK_FALSE(remove_bus(info));
  CHECK(administrator.tables() == mine);
  administrator.run("DROP TABLE ipcm_peers");
  // A database may hold a bus beside other tables, which stay.
  Guard guard = spawn_bus();
  { const Client a = ipcm_connect("a", guard.info()); }
  guard.shutdown();
  CHECK(administrator.tables() == std::vector<std::string>{"theirs"});
  CHECK_FALSE(remove_bus(info));
  administrator.run("DROP TABLE theirs");
}

TEST_CASE_FIXTURE(Tidy, "server: G3: several of our members can join a bus of the reference at once") {
  SpawnOptions options = bus_options();
  options.guard = false;
  const BusInfo info = ipcm_spawn(options).info();
  Administrator administrator;
  constexpr int kPeers = 4, kRounds = 5;
  for (int round = 0; round < kRounds; ++round) {
    administrator.run("DROP TABLE ipcm_ours");  // now it looks like a bus of the reference
    std::vector<std::unique_ptr<Forked>> peers;
    for (int i = 0; i < kPeers; ++i)
      peers.push_back(std::make_unique<Forked>([&info, i](Lines& test) {
        test.hear();
        const Client client = ipcm_connect("peer" + std::to_string(i), info);
        test.say("joined");
        test.hear();
        return 0;
      }));
    for (const auto& peer : peers) peer->say("join");
    for (const auto& peer : peers) CHECK(peer->hear() == "joined");
    for (const auto& peer : peers) peer->say("leave");
    for (const auto& peer : peers) CHECK(peer->wait() == ExitStatus::exited(0));
  }
  for (const std::string table : {"ipcm_ours", "ipcm_messages", "ipcm_peers"})
    administrator.run("DROP TABLE " + table);
}

TEST_CASE_FIXTURE(Tidy, "server: G6: a service whose table was dropped or altered ends with the reason") {
  for (const std::string change :
       {"DROP TABLE ipcm_messages", "ALTER TABLE ipcm_messages DROP COLUMN broadcast"}) {
    CAPTURE(change);
    const Guard guard = spawn_bus();
    Handle echo = start_on(guard.info(), "e", echo_options());
    Client reader = ipcm_connect("reader", guard.info());
    {
      // Closed before the service is used, so that the two connections do not wait for each other's locks.
      Administrator administrator;
      administrator.run(change);
    }
    CHECK_THROWS_AS((void)reader.wait_for_messages(kHang), BusError);
    CHECK_THROWS_AS((void)echo.sync_request("e", 1, kHang), Error);
    REQUIRE(echo.child_pid());
    await_end(*echo.child_pid());
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "server: G8: a limit holds while the tables are locked, and sent messages go out later") {
  const Guard guard = spawn_bus();
  Handle echo = start_on(guard.info(), "e", echo_options());
  CHECK(echo.sync_request("e", 1, kHang).as<int>() == 1);
  Administrator administrator;
  administrator.lock_messages();
  constexpr auto kLimit = 300ms;
  const auto took = time_of([&] { CHECK_THROWS_AS((void)echo.sync_request("e", 2, kLimit), Timeout); });
  CHECK(took < kHang / 2);
  const auto waited = time_of([&] { CHECK(echo.client().wait_for_messages(kLimit).empty()); });
  CHECK(waited < kHang / 2);
  {
    // Joins as a command does, with its time limit.
    const os::TimeLimit limit(os::Deadline::after(kLimit));
    const auto joined = time_of([&] {
      try {
        (void)member(guard.info(), "visitor");
      } catch (const Error&) {
        // On a loaded machine the server needs longer than the limit for a connection.
      }
    });
    CHECK(joined < kHang / 2);
  }
  administrator.unlock();
  CHECK(echo.sync_request("e", 3, kHang).as<int>() == 3);
}

TEST_CASE_FIXTURE(Tidy,
                  "server: A2: a message that the server stores later than the sender waits comes once") {
  const Guard guard = spawn_bus();
  const auto sender = member(guard.info(), "sender");
  Client reader = ipcm_connect("reader", guard.info());
  const auto send = [&](const char* id, const char* text) {
    const os::TimeLimit limit(os::Deadline::after(100ms));
    return sender->transport().send({id, "sender", "reader", 1795380997, 0, false, Content(text)}).sent;
  };
  // Later messages need no query of the locked table.
  CHECK(send("01A2050B-EF33-7769-9AB2-B6C36F6D7021", "first") == transport::Transport::Sent::done);
  CHECK(collect(reader, 1)[0].content == Content("first"));
  Administrator administrator;
  administrator.lock_messages();
  CHECK(send("01A2050B-EF33-7769-9AB2-B6C36F6D7022", "late") == transport::Transport::Sent::queued);
  administrator.unlock();
  // The reader takes the message, and removes its row, before the sender looks for the server's answer. (On
  // a loaded machine the server may refuse it instead. Then the sender repeats it.)
  constexpr auto kMoment = 500ms;
  auto got = reader.wait_for_messages(kMoment);
  CHECK(reader.wait_for_messages(1ms).empty());
  CHECK(sender->loop().run_until([&] { return sender->transport().queued_messages() == 0; },
                                 os::Deadline::after(kHang)));
  if (got.empty()) got = collect(reader, 1);
  REQUIRE(got.size() == 1);
  CHECK(got[0].content == Content("late"));
  CHECK(send("01A2050B-EF33-7769-9AB2-B6C36F6D7023", "last") == transport::Transport::Sent::done);
  CHECK(collect(reader, 1)[0].content == Content("last"));
}

TEST_CASE_FIXTURE(Tidy, "server: G8: a reader goes on as soon as the tables are unlocked") {
  const Guard guard = spawn_bus();
  Forked reader([info = guard.info().text()](Lines& test) {
    Client client = ipcm_connect("reader", info);
    test.say("joined");
    test.say(client.wait_for_messages(kHang).at(0).content.as<std::string>());
    return 0;
  });
  CHECK(reader.hear() == "joined");
  Client writer = ipcm_connect("writer", guard.info());
  for (int round = 0; round < 3; ++round) {
    Administrator administrator;
    administrator.lock_messages();
    // The reader waits for the lock meanwhile, and then for late answers.
    CHECK(writer.wait_for_messages(1500ms).empty());
    administrator.unlock();
  }
  writer.send_message("reader", "hello");
  CHECK(reader.hear() == "hello");
  CHECK(reader.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "server: a message that the tables of the reference can't hold is a clear error") {
  if (is_postgresql()) return;  // its columns of bytes have no such limit
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client b = ipcm_connect("b", guard.info());
  Administrator().run("ALTER TABLE ipcm_messages MODIFY content BLOB NOT NULL");
  const std::string long_one(70'000, 'x');
  const std::string told = thrown_by<ProtocolError>([&] { a.send_message("b", long_one); }).what();
  CHECK(contains(told, "65535"));
  CHECK(contains(told, "'b'"));
  a.send_message("b", "short");
  CHECK(collect(b, 1)[0].content == Content("short"));
}

TEST_CASE_FIXTURE(Tidy,
                  "server: a URL as a route is refused before anything is started, and never repeated") {
  const std::string password = "not-the-pa55word";
  BusInfo info{protocol(), "JSON", "postgresql://tester:" + password + "@somewhere/ipcm", {}, {}};
  CHECK_FALSE(contains(thrown_by<BusError>([&] { (void)ipcm_connect("a", info); }).what(), password));
  ServiceOptions options = exec_echo();
  options.ipcm_info = info;
  CHECK_FALSE(contains(thrown_by<Error>([&] { (void)ipcm_service("e", options); }).what(), password));
  options = exec_echo();
  options.bus.protocols = {protocol()};
  options.bus.route = info.route;
  CHECK_FALSE(contains(thrown_by<Error>([&] { (void)ipcm_service("e", options); }).what(), password));
}

TEST_CASE_FIXTURE(Tidy,
                  "server: only a service whose bus needs the password gets it, and keeps it to itself") {
  const std::string password = std::getenv("IPCM_DB_PASSWORD");
  REQUIRE(password.size() > 8);
  const Guard guard = spawn_bus();
  for (const bool on_server : {true, false}) {
    CAPTURE(on_server);
    ServiceOptions options = exec_echo();
    if (on_server) options.ipcm_info = guard.info();
    Handle echo = ipcm_service("e", options);
    CHECK(echo.sync_request("e", 1, kHang).as<int>() == 1);
    REQUIRE(echo.service_pid());
    const std::string environment = read_file("/proc/" + std::to_string(*echo.service_pid()) + "/environ");
    CHECK_FALSE(contains(environment, password));
    CHECK(contains(environment, "IPCM_DRIVERS="));
  }
}
