// Service::run(): a service without a launcher.

#include <csignal>

#include "support/peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

class Adder final : public Service {
 public:
  explicit Adder(ServiceSetup setup) : Service(std::move(setup)) {}
  void on_start() override {
    Service::on_start();
    if (name() == "broken") throw std::runtime_error("no luck");
  }
  Answer handle_request(const Request& request) override {
    if (request.as<int>() < 0) terminate(3);
    return total_ += request.as<int>();
  }

 private:
  int total_ = 0;
};

}  // namespace

TEST_CASE_FIXTURE(Tidy, "Service::run(): a process runs a service of its own, and others ask it") {
  Guard bus = ipcm_spawn();
  Forked process([&](Lines& test) {
    ServiceOptions options;
    options.on_cleanup = [&](Service&) { test.say("cleanup"); };
    return Adder(ServiceSetup("adder", bus.info(), options)).run();
  });
  Client client = ipcm_connect("c", bus.info());
  REQUIRE(client.peer_active("adder", kHang));
  CHECK(client.sync_request<int>("adder", 5, kHang) == 5);
  CHECK(client.sync_request<int>("adder", 6, kHang) == 11);
  int status = 0;
  SUBCASE("until it terminates itself") {
    CHECK(client.sync_request<int>("adder", -1, kHang) == 10);
    status = 3;
  }
  SUBCASE("until a message asks it to end") {
    client.send_message("adder", Content::json(R"({"terminate":1})"));
  }
  SUBCASE("until SIGTERM") { process.kill(SIGTERM); }
  CHECK(process.hear() == "cleanup");
  CHECK(process.wait() == ExitStatus::exited(status));
  client.disconnect();
  bus.shutdown();
}

TEST_CASE_FIXTURE(Tidy, "Service::run(): it throws if it can't join, or on_start fails, and leaves the bus") {
  const BusInfo removed = ipcm_spawn().info();
  const Guard bus = ipcm_spawn();
  const BusInfo& info = bus.info();
  const Client taken = ipcm_connect("taken", info);
  Forked process([&](Lines& test) {
    const auto attempt = [&](const std::string& name, const BusInfo& where) {
      try {
        (void)Adder(ServiceSetup(name, where, {})).run();
        test.say("it ran");
      } catch (const NameTaken&) {
        test.say("taken");
      } catch (const BusError&) {
        test.say("no bus");
      } catch (const std::runtime_error& error) {
        test.say(error.what());
      }
    };
    attempt("taken", info);
    attempt("adder", removed);
    attempt("broken", info);
    const Client again = ipcm_connect("broken", info);  // the name is free
    return 0;
  });
  CHECK(process.hear() == "taken");
  CHECK(process.hear() == "no bus");
  CHECK(process.hear() == "no luck");
  CHECK(process.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "Service::run(): wrong options are refused at once") {
  const Guard bus = ipcm_spawn();
  ServiceOptions options;
  options.interval = Duration::zero();
  CHECK_THROWS_AS(ServiceSetup("a", bus.info(), options), UsageError);
  CHECK_THROWS_AS(ServiceSetup("_a", bus.info(), {}), UsageError);
}
