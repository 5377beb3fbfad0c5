// AtomicPipe: garbage in the pipe, and writers that die or begin a message again.

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "atomic_pipe_peers.h"
#include "os/identity.h"
#include "os/process.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

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
    if (round == 0) descriptors = lasting_descriptors().size();
  }
  CHECK(lasting_descriptors().size() == descriptors);
}

TEST_CASE_FIXTURE(Tidy, "F4: garbage to a service is dropped, it goes on answering, and does not spin") {
  Handle handle = start("target", echoing());
  const Pid pid = handle.service_pid().value();
  CHECK(handle.sync_request("first", kHang).ok());
  const auto descriptors = count_descriptors(pid);
  for (const Garbage& garbage : all_garbage()) {
    CAPTURE(garbage.what);
    Raw raw(handle.info(), "target");
    raw.write(garbage.bytes);
    await_idle(pid);  // before the request, because the reader empties the pipe
    CHECK(handle.sync_request(garbage.what, kHang).as<std::string>() == garbage.what);
    await_idle(pid);
  }
  CHECK(count_descriptors(pid) == descriptors);
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

TEST_CASE_FIXTURE(Tidy, "F4: unfinished messages of a dead writer are dropped, finished ones stay") {
  Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  std::vector<std::string> told;
  target.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  const auto descriptors = lasting_descriptors().size();
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
      CHECK(told.empty());  // the writer may still continue the message
    }
    writer.say("end");
    CHECK(writer.wait() == ExitStatus::exited(0));
    if (os::look_for_process(writer.pid()) != os::Seen::ended) {
      MESSAGE(
          "not in the first pid namespace: nothing proves the death of a writer, which has a minute then");
      return;
    }
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
  CHECK(lasting_descriptors().size() <= descriptors + 1);  // the Lines of the last writer
}

TEST_CASE_FIXTURE(Tidy, "G2: a part that names the number of a thread costs its message, and no more") {
  Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  std::atomic<Pid> number{0};
  std::atomic<bool> over{false};
  std::thread other([&] {
    number = static_cast<Pid>(::syscall(SYS_gettid));
    number.notify_all();
    over.wait(false);
  });
  number.wait(0);
  Raw raw(guard.info(), "target");
  raw.write(part(number, 0, 1, std::string(kData, 'x')));
  serve_until_silent(target);
  raw.write(single(R"("whole")"));
  CHECK(collect(target, 1)[0].content.as<std::string>() == "whole");
  over = true;
  over.notify_all();
  other.join();
}
