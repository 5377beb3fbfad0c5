// Behaviour that UnixSocket and AtomicPipe share: each reader has one mailbox, each sender a queue for each
// reader. Messages of all sizes; readers that stall, that die with messages queued for them, or that join and
// leave repeatedly.

#include <unistd.h>

#include <csignal>

#include "contract.h"
#include "os/process.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

constexpr std::size_t kMiB = 1024UL * 1024;
/// The memory that a sender may need for a full queue and the current message. The address sanitizer keeps
/// freed memory for a while.
#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t kQueueMemory = (200 + 512) * kMiB;
#else
constexpr std::size_t kQueueMemory = 200 * kMiB;
#endif

/// Joins, and reads only after the test has said how many messages to expect.
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

/// Returns a service that sends as many messages of a given size as it can to `sleeper`.
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

TEST_CASE_FIXTURE(Tidy, "large: messages of any size between ours arrive whole and in order") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  // Sizes near the limits of a part (AtomicPipe) and of a datagram (UnixSocket).
  const std::vector<std::size_t> sizes = {1,     3900,      4000,  4080,     4081,     8160,   3,      65000,
                                          65300, 65536,     65537, 70000,    3,        212000, 213000, 5,
                                          kMiB,  30 * kMiB, 1,     5 * kMiB, 5 * kMiB, 2};
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
    // Other requests are answered as before, and the service does not spin.
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
    Tidy, "F5: if a reader is killed with messages queued for it, its sender reports that and goes on") {
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
  // The service notices the death of the reader although nothing is sent.
  await_idle(handle.service_pid().value());
  CHECK(contains(read_file(directory() + "/log"), "were not delivered"));
  CHECK(handle.sync_request("still", kHang).as<std::string>() == "still");
  CHECK(handle.sync_request<int>(10000, kHang) == 0);
  guard.shutdown();
  (void)::unlink((directory() + "/log").c_str());
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
