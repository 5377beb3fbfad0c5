// UnixSocket: datagrams that no correct peer sends.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "os/pipe.h"
#include "os/process.h"
#include "unix_socket_peers.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

os::UniqueFd unsealed(const std::string& content) {
  os::UniqueFd file(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  os::write_all(file.get(), content, "memory file");
  return file;
}

struct Garbage {
  std::string what;
  std::function<void(Raw&)> send;
  bool told = true;  ///< The receiver reports a diagnostic.
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
    garbage.send(raw);
    CHECK(handle.sync_request(garbage.what, kHang).as<std::string>() == garbage.what);
    await_idle(pid);
  }
  CHECK(count_descriptors(pid) == descriptors);
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

TEST_CASE_FIXTURE(Tidy, "F7: a datagram of another user is refused and reported") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can be somebody else");
    return;
  }
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  std::vector<std::string> told;
  target.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  // Without these permissions another user can't reach the socket.
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
  // A directory that everybody may write to counts as no bus, and would not be removed.
  REQUIRE(::chmod(guard.info().route.c_str(), 0700) == 0);
}
