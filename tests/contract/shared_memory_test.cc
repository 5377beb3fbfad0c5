// ConnectionUnix: large messages in shared memory between peers of this library. Peers without shared memory
// get plain frames. Wrong use of shared memory costs a peer only its connection.

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <functional>

#include "foreign.h"
#include "os/pipe.h"
#include "os/process.h"
#include "os/shared_memory.h"
#include "os/socket.h"
#include "raw_sockets.h"
#include "transport/connection_unix/shared_memory.h"
#include "wire/serializer.h"

using namespace ipcm;
using namespace ipcm::test;
using transport::kSharedMemory, transport::kSharedMemoryHead, transport::kSmallestInMemory;

namespace {

constexpr std::size_t kMiB = 1024UL * 1024;
const std::string kMark("\0ipcm", 5);

const std::string kHello = frame(R"({"hello":"raw","ipcm":2})");
const std::string kForeignHello = frame(R"({"hello":"raw"})");
const std::string kUnderstood = kMark + "\2", kMapped = kMark + "\4";
std::string file_note(std::uint64_t size) { return kMark + "\3" + big_endian(size, 8); }
std::string place_note(std::uint64_t offset, std::uint64_t size, const std::string& head,
                       const std::string& tail) {
  return kMark + "\5" + big_endian(offset, 8) + big_endian(size, 8) + big_endian(head.size(), 4) + head +
         tail;
}

/// A stream socket with the frames of the protocol, which may send wrong content.
class Raw {
 public:
  Raw(const BusInfo& bus, const std::string& peer) : Raw(socket_to(bus, peer, SOCK_STREAM)) {}
  explicit Raw(os::UniqueFd socket) : socket_(std::move(socket)) {}

  /// Sends the bytes, and serves the client `meanwhile`, which is in the same process.
  void send(std::string_view bytes, Client* meanwhile = nullptr) {
    while (!bytes.empty()) {
      const auto now = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (now > 0) bytes.remove_prefix(static_cast<std::size_t>(now));
      if (now < 0 && errno != EAGAIN) return;  // the peer closed the connection; the test checks that
      if (now < 0 && meanwhile != nullptr) meanwhile->dispatch();
      if (now < 0 && meanwhile == nullptr) await(POLLOUT);
    }
  }
  void send(std::string_view bytes, const os::UniqueFd& descriptor) {
    std::size_t sent = 0;
    REQUIRE(os::send_some(socket_.get(), bytes, descriptor.get(), &sent) == os::SendResult::some);
    REQUIRE(sent == bytes.size());
  }
  /// Returns the payload of the next frame. Serves the client `meanwhile`, which is in the same process.
  std::string hear(Client* meanwhile = nullptr) {
    std::string length = take(4, meanwhile);
    std::size_t size = 0;
    for (const char byte : length) size = size << 8 | static_cast<unsigned char>(byte);
    return take(size, meanwhile);
  }
  [[nodiscard]] bool hung_up() const { return is_hung_up(socket_.get()); }

 private:
  void await(short events) const {
    pollfd wait{socket_.get(), events, 0};
    REQUIRE(::poll(&wait, 1, os::Deadline::after(kHang).poll_timeout()) > 0);
  }
  std::string take(std::size_t size, Client* meanwhile) {
    std::string bytes(size, '\0');
    const auto deadline = os::Deadline::after(kHang);
    for (std::size_t at = 0; at < size;) {
      const auto got = ::recv(socket_.get(), bytes.data() + at, size - at, MSG_DONTWAIT);
      REQUIRE(got != 0);
      if (got > 0) at += static_cast<std::size_t>(got);
      if (got < 0 && meanwhile != nullptr) meanwhile->dispatch();
      if (got < 0 && meanwhile == nullptr) await(POLLIN);
      REQUIRE_FALSE(deadline.has_passed());
    }
    return bytes;
  }
  os::UniqueFd socket_;
};

/// A message to `target` without its content, which belongs between head and tail.
struct Around {
  std::string head, tail;
};
Around around_content() {
  const std::string whole = wire_message(R"("from":"raw","content":0)");
  return {whole.substr(0, whole.size() - 2), "}"};
}
std::string plain_message(const std::string& content) {
  const Around around = around_content();
  return frame(around.head + content + around.tail);
}
std::string text_of(std::size_t size, char letter = 'x') { return "\"" + std::string(size, letter) + "\""; }

/// Exchanges frames until `target`, a client of this process, has mapped a file of `size` bytes of the raw
/// peer. Returns the file.
os::UniqueFd agree_on_memory(Raw& raw, Client& target, std::size_t size) {
  raw.send(kHello);
  raw.send(plain_message(text_of(kSmallestInMemory)), &target);
  CHECK(raw.hear(&target) == kUnderstood);
  os::UniqueFd file = os::make_shared_memory_file("test", kSharedMemoryHead + size);
  raw.send(frame(file_note(size)), file);
  CHECK(raw.hear(&target) == kMapped);
  CHECK(collect(target, 1).size() == 1);
  return file;
}

/// Returns the first eight bytes of a memory file as a number.
std::uint64_t number_in(const os::UniqueFd& file) {
  std::uint64_t number = 0;
  REQUIRE(::pread(file.get(), &number, sizeof number, 0) == sizeof number);
  return number;
}

/// Returns the sizes in bytes of the memory files that a process of this library has open for sending.
std::vector<std::size_t> memory_files_of(const std::string& process) {
  std::vector<std::size_t> all;
  const std::string folder = "/proc/" + process + "/fd";
  for (const std::string& name : names_in(folder)) {
    std::error_code none;
    const auto target = std::filesystem::read_symlink(folder + "/" + name, none);
    if (!contains(target.string(), "ipcm messages")) continue;
    struct stat facts {};
    REQUIRE(::stat((folder + "/" + name).c_str(), &facts) == 0);
    all.push_back(static_cast<std::size_t>(facts.st_blocks) * 512);
  }
  return all;
}
/// Returns the number of messages that have passed through the only memory file of a process.
std::uint64_t taken_from(const std::string& process) {
  const std::string folder = "/proc/" + process + "/fd";
  for (const std::string& name : names_in(folder)) {
    std::error_code none;
    const auto target = std::filesystem::read_symlink(folder + "/" + name, none);
    if (contains(target.string(), "ipcm messages"))
      return number_in(os::UniqueFd(::open((folder + "/" + name).c_str(), O_RDONLY | O_CLOEXEC)));
  }
  return 0;
}
std::size_t maps_of(const std::string& process) {
  const std::string text = read_file("/proc/" + process + "/maps");
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find("ipcm messages", at)) != std::string::npos; ++at) ++count;
  return count;
}

/// Exchanges messages until both directions use shared memory.
void prime(Handle& handle) {
  for (int i = 0; i < 3; ++i)
    REQUIRE(handle.sync_request(std::string(kMiB, 'p'), kHang).as<std::string>().size() == kMiB);
}
/// The size of a large message that fits into the socket while nobody reads.
constexpr std::size_t kModest = 100000;
/// The same, from one client to another of this process.
void prime(Client& from, Client& to, const std::string& name) {
  for (int i = 0; i < 3; ++i) {
    from.send_message(name, std::string(kModest, 'p'));
    REQUIRE(collect(to, 1).size() == 1);
    serve_until_silent(from);
    serve_until_silent(to);
    serve_until_silent(from);
  }
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "memory: requests and answers of any size are whole, and large ones go through it") {
  for (const char* serializer : {"JSON", "Cereal", "JSON::Zstd"}) {
    if (!contains(wire::known_serializers(), std::string(serializer))) continue;
    CAPTURE(serializer);
    ServiceOptions options = echoing();
    options.bus.protocols = {"ConnectionUnix"};
    options.bus.serializer = serializer;
    Handle handle = ipcm_service("target", options);
    char letter = 'a';
    for (const std::size_t size :
         {std::size_t{1}, 2 * kMiB, kSmallestInMemory, kSmallestInMemory - 2, 3 * kMiB, std::size_t{7},
          20 * kMiB, kMiB, 40 * kMiB, kSmallestInMemory + 1, std::size_t{0}, 5 * kMiB}) {
      CAPTURE(size);
      // Text that does not compress, so that it has the same size with each serializer.
      std::string text(size, letter++);
      std::uint32_t random = 1;
      for (char& c : text) c = static_cast<char>('0' + ((random = random * 1664525 + 1013904223) >> 26));
      for (char& c : text)
        if (c == '\\') c = 'B';
      const std::string back = handle.sync_request(text, kHang).as<std::string>();
      CHECK(back.size() == size);
      CHECK((back == text));
    }
    CHECK(memory_files_of("self").size() == 1);
    CHECK(memory_files_of(std::to_string(*handle.service_pid())).size() == 1);
    // All large messages, except those before both sides had mapped the file.
    CHECK(taken_from("self") >= 4);
    CHECK(taken_from(std::to_string(*handle.service_pid())) >= 4);
    CHECK(handle.client().dropped() == 0);
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "memory: messages keep their order among small ones, also when there is no room left") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  prime(a, b, "b");
  REQUIRE(memory_files_of("self").size() == 1);
  // When 8 MiB are unread, further large messages go through the socket.
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < 7; ++i) sizes.insert(sizes.end(), {kMiB + 140000 + i, i});
  sizes.insert(sizes.end(), {kModest * 3 / 2, 5, 6});
  for (std::uint64_t round = 1; round <= 20; ++round) {
    const auto taken = taken_from("self");
    for (const std::size_t size : sizes) a.send_message("b", std::string(size, 'x'));
    CHECK(taken_from("self") == taken);
    const auto got = collect(b, sizes.size());
    REQUIRE(got.size() == sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i) CHECK(got[i].content.as<std::string>().size() == sizes[i]);
    CHECK(taken_from("self") == taken + 7);
  }
  CHECK(b.dropped() == 0);
}

TEST_CASE_FIXTURE(Tidy, "memory: a caller that does not know of it gets plain frames, however large") {
  Handle handle = start("target", echoing());
  Raw raw(handle.info(), "target");
  raw.send(kForeignHello);
  const std::string text = text_of(2 * kMiB);
  for (int i = 0; i < 4; ++i) {
    raw.send(plain_message(R"({"ipcm_request_id":"01A2050B-0000-7000-8000-000000000003","request":)" + text +
                           "}"));
    const std::string answer = raw.hear();
    CHECK(answer.starts_with('{'));
    CHECK(contains(answer, text));
  }
  CHECK(memory_files_of(std::to_string(*handle.service_pid())).empty());
}

TEST_CASE_FIXTURE(Tidy, "memory: a peer that does not know it gets plain frames from its callers") {
  const Guard guard = spawn_bus();
  const os::UniqueFd listener = socket_of(guard.info(), "foreign", SOCK_STREAM);
  REQUIRE(::listen(listener.get(), 1) == 0);
  announce_foreign(guard.info(), "foreign", ::getpid());
  const std::string text(2 * kMiB, 'x');
  Forked a([&](Lines& test) {
    Client client = ipcm_connect("a", guard.info());
    for (int i = 0; i < 4; ++i) {
      client.send_message("foreign", text);
      if (collect(client, 1).size() != 1) return 1;
    }
    test.say(std::to_string(memory_files_of("self").size()));
    return 0;
  });
  Raw raw(os::UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  CHECK(raw.hear() == R"({"hello":"a","ipcm":2})");
  for (int i = 0; i < 4; ++i) {
    const std::string heard = raw.hear();
    CHECK(heard.starts_with('{'));
    CHECK(contains(heard, text));
    raw.send(plain_message(text_of(kMiB)));
  }
  CHECK(a.hear() == "0");
  CHECK(a.wait() == ExitStatus::exited(0));
  remove_foreign(guard.info(), "foreign");
}

TEST_CASE_FIXTURE(Tidy, "memory: the bytes by which two agree on it, and talk") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  Raw raw(guard.info(), "target");
  const auto file = agree_on_memory(raw, target, 8 * kMiB);
  const os::Mapping memory(file.get(), 0, kSharedMemoryHead + 8 * kMiB, os::Mapping::Access::read_write);
  const std::string text = text_of(kMiB, 'y');
  const Around around = around_content();
  text.copy(memory.bytes().data() + kSharedMemoryHead + 4096, text.size());
  for (std::uint64_t i = 1; i <= 3; ++i) {
    raw.send(frame(place_note(4096, text.size(), around.head, around.tail)));
    CHECK(collect_contents(target, 1)[0] == text);
    CHECK(number_in(file) == i);
  }
  // A whole message in shared memory is valid too.
  const std::string whole = around.head + text + around.tail;
  whole.copy(memory.bytes().data() + kSharedMemoryHead + 4 * kMiB, whole.size());
  raw.send(frame(place_note(4 * kMiB, whole.size(), "", "")));
  CHECK(collect_contents(target, 1)[0] == text);

  // The other direction: the first message goes through the socket, after the file.
  target.send_message("raw", std::string(kModest, 'z'));
  CHECK(raw.hear(&target) == file_note(kSharedMemory));
  CHECK(contains(raw.hear(&target), std::string(kModest, 'z')));
  target.send_message("raw", std::string(kModest, 'z'));
  CHECK(contains(raw.hear(&target), std::string(kModest, 'z')));  // the raw peer has not mapped it yet
  raw.send(frame(kMapped));
  serve_until_silent(target);
  target.send_message("raw", std::string(kModest, 'z'));
  const std::string heard = raw.hear();
  CHECK(heard.size() < 1000);
  CHECK(heard.starts_with(kMark + "\5" + big_endian(0, 8) + big_endian(kModest + 2, 8)));
  CHECK(target.dropped() == 0);
}

namespace {

struct Lie {
  std::string what;
  std::function<void(Raw&)> tell;
};

std::vector<Lie> all_lies() {
  constexpr std::size_t kSize = 2 * kMiB;
  const auto good = [] { return os::make_shared_memory_file("test", kSharedMemoryHead + kSize); };
  const auto share = [](std::uint64_t says, const std::function<os::UniqueFd()>& file) {
    return [=](Raw& raw) { raw.send(frame(file_note(says)), file()); };
  };
  const auto point = [=](std::uint64_t offset, std::uint64_t size) {
    return [=](Raw& raw) {
      raw.send(frame(file_note(kSize)), good());
      raw.send(frame(place_note(offset, size, around_content().head, "}")));
    };
  };
  const auto say = [](const std::string& bytes) { return [=](Raw& raw) { raw.send(frame(bytes)); }; };
  return {
      {"a file without seals", share(kSize,
                                     [] {
                                       os::UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
                                       REQUIRE(::ftruncate(file.get(), kSharedMemoryHead + kSize) == 0);
                                       return file;
                                     })},
      {"a file that could still shrink",
       share(kSize,
             [] {
               os::UniqueFd file(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
               REQUIRE(::ftruncate(file.get(), kSharedMemoryHead + kSize) == 0);
               REQUIRE(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_GROW) == 0);
               return file;
             })},
      {"a file smaller than it says", share(kSize + 4096, good)},
      {"a file larger than it says", share(kSize - 4096, good)},
      {"a file of nothing", share(0, good)},
      {"a file beyond any limit", share(~std::uint64_t{0}, good)},
      {"a file one page too large",
       share(kSharedMemory + 4096,
             [] { return os::make_shared_memory_file("test", kSharedMemoryHead + kSharedMemory + 4096); })},
      {"a pipe", share(kSize, [] { return os::make_pipe().read_end; })},
      {"a directory", share(kSize, [] { return os::UniqueFd(::open("/", O_RDONLY | O_CLOEXEC)); })},
      {"no descriptor", say(file_note(kSize))},
      {"a descriptor that came before, with something else",
       [=](Raw& raw) {
         raw.send(plain_message("1"), good());
         raw.send(frame(file_note(kSize)));
       }},
      {"a second file",
       [=](Raw& raw) {
         raw.send(frame(file_note(kSize)), good());
         raw.send(frame(file_note(kSize)), good());
       }},
      {"a message before any file", say(place_note(0, 10, around_content().head, "}"))},
      {"a place beyond the end", point(kSize + 4096, 10)},
      {"a place across the end", point(kSize - 10, 11)},
      {"a size beyond any limit", point(10, ~std::uint64_t{0})},
      {"an offset beyond any limit", point(~std::uint64_t{0} - 5, 10)},
      {"a head longer than its frame",
       [=](Raw& raw) {
         raw.send(frame(file_note(kSize)), good());
         raw.send(frame(kMark + "\5" + big_endian(0, 8) + big_endian(10, 8) + big_endian(1000, 4) + "{}"));
       }},
      {"that it has mapped what nobody gave it", say(kMapped)},
      {"a kind that does not exist", say(kMark + "\x7f")},
      {"the mark, and no more", say(kMark)},
      {"more than there should be", say(kMapped + "x")},
  };
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "memory: a file that no honest peer would share costs only its connection") {
  Handle handle = start("target", echoing());
  const Pid pid = handle.service_pid().value();
  CHECK(handle.sync_request(0, kHang).ok());
  const auto descriptors = count_descriptors(pid);
  const auto maps = maps_of(std::to_string(pid));
  for (const Lie& lie : all_lies()) {
    CAPTURE(lie.what);
    Raw raw(handle.info(), "target");
    raw.send(kHello + plain_message(text_of(kSmallestInMemory)));
    CHECK(raw.hear() == kUnderstood);
    lie.tell(raw);
    CHECK(raw.hung_up());
    CHECK(handle.sync_request(lie.what, kHang).as<std::string>() == lie.what);
    await_idle(pid);
    CHECK(count_descriptors(pid) == descriptors);
    CHECK(maps_of(std::to_string(pid)) == maps);
  }
}

TEST_CASE_FIXTURE(Tidy, "memory: a peer that uses it without agreement loses its connection") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  for (const std::string& hello : {kHello, kForeignHello}) {
    Raw raw(guard.info(), "target");
    raw.send(hello);
    // The file comes before the target has agreed to share memory.
    raw.send(frame(file_note(2 * kMiB)), os::make_shared_memory_file("test", kSharedMemoryHead + 2 * kMiB));
    serve_until_silent(target);
    CHECK(raw.hung_up());
    CHECK(target.get_messages().empty());
  }
  CHECK(maps_of("self") == 0);
}

TEST_CASE_FIXTURE(Tidy, "memory: bytes in it that are no message are dropped alone") {
  const Guard guard = spawn_bus();
  Client target = ipcm_connect("target", guard.info());
  Raw raw(guard.info(), "target");
  const auto file = agree_on_memory(raw, target, 2 * kMiB);
  const os::Mapping memory(file.get(), kSharedMemoryHead, 2 * kMiB, os::Mapping::Access::read_write);
  const Around around = around_content();
  const auto put = [&](const std::string& body, const std::string& head, const std::string& tail) {
    body.copy(memory.bytes().data(), body.size());
    raw.send(frame(place_note(0, body.size(), head, tail)));
    serve_until_silent(target);
  };
  std::uint64_t dropped = 0;
  for (const char* body : {"\"not ended", "1,\"content\":2", "null", "{\"a\":}", "\"\xc3\xa4", "", "[1,2"}) {
    CAPTURE(std::string(body));
    put(body, around.head, around.tail);
    CHECK(target.dropped() == ++dropped);
    CHECK(target.get_messages().empty());
  }
  put("2", R"({"content":)", "}");  // without a sender
  CHECK(target.dropped() == ++dropped);
  put(" [1, 2] ", around.head, around.tail);  // unusual, but a message
  CHECK(collect(target, 1)[0].content.as<std::vector<int>>() == std::vector<int>{1, 2});
  put("3", around.head.substr(0, around.head.size() - 1), R"(:4,"content":5})");  // two contents
  CHECK(target.dropped() == ++dropped);
  put("3", around.head, around.tail);
  CHECK(collect_contents(target, 1)[0] == "3");
}

TEST_CASE_FIXTURE(Tidy, "memory: messages of a killed sender are read, and nothing stays") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    for (int i = 0; i < 3; ++i) {
      client.send_message("a", std::string(kMiB, 'p'));
      if (collect(client, 1).size() != 1) return 1;
    }
    test.say("primed");
    for (const char letter : {'x', 'y', 'z'}) client.send_message("a", std::string(2 * kMiB, letter));
    test.say(std::to_string(memory_files_of("self").at(0) / kMiB));
    test.hear();
    return 0;
  });
  const auto descriptors = lasting_descriptors();
  for (int i = 0; i < 3; ++i) {
    CHECK(collect(a, 1).size() == 1);
    a.send_message("b", "on");
  }
  CHECK(b.hear() == "primed");
  CHECK(std::stoul(b.hear()) >= 6);
  b.kill(SIGKILL);
  b.await_end();
  const auto contents = collect_contents(a, 3);
  REQUIRE(contents.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK((contents[i] == text_of(2 * kMiB, "xyz"[i])));
  (void)b.wait();
  serve_until_silent(a);
  CHECK(maps_of("self") == 0);
  CHECK(lasting_descriptors() == descriptors);
}

TEST_CASE_FIXTURE(Tidy, "memory: a receiver without descriptors left gets all of it through the socket") {
  Handle handle = [&] {
    ServiceOptions options = echoing();
    options.handle_request = [](Service&, const Request& request) -> Answer {
      rlimit tight{};
      if (request.raw().json() == "1" && ::getrlimit(RLIMIT_NOFILE, &tight) == 0) {
        tight.rlim_cur = static_cast<rlim_t>(os::duplicate(0).get());
        (void)::setrlimit(RLIMIT_NOFILE, &tight);
      }
      return request.raw();
    };
    return start("target", options);
  }();
  CHECK(handle.sync_request(1, kHang).ok());
  for (int i = 0; i < 4; ++i) {
    const std::string text(kMiB, static_cast<char>('a' + i));
    CHECK((handle.sync_request(text, kHang).as<std::string>() == text));
  }
  const std::string pid = std::to_string(*handle.service_pid());
  CHECK(maps_of(pid) == 0);
}

TEST_CASE_FIXTURE(Tidy, "memory: it is given back when nothing large has come for a while, and taken again") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  for (int round = 0; round < 2; ++round) {
    prime(a, b, "b");
    a.send_message("b", std::string(16 * kMiB, 'x'));
    CHECK(collect_contents(b, 1)[0] == text_of(16 * kMiB));
    REQUIRE(memory_files_of("self").size() == 1);
    CHECK(memory_files_of("self")[0] >= 16 * kMiB);
    // Only the timer makes it readable.
    const auto deadline = os::Deadline::after(kHang);
    while (memory_files_of("self")[0] > 64 * 1024 && !deadline.has_passed()) {
      REQUIRE(readable(a.fd()));
      a.dispatch();
    }
    CHECK(memory_files_of("self")[0] <= 64 * 1024);
  }
  // Afterwards, nothing wakes the client.
  pollfd look{a.fd(), POLLIN, 0};
  CHECK(::poll(&look, 1, 0) == 0);
}

TEST_CASE_FIXTURE(Tidy, "memory: a forked child has none of it, and the parent keeps it") {
  Handle handle = start("target", echoing());
  prime(handle);
  REQUIRE(maps_of("self") > 0);
  Forked child([&](Lines& test) {
    test.say(std::to_string(maps_of("self")) + " " + std::to_string(memory_files_of("self").size()));
    return 0;
  });
  CHECK(child.hear() == "0 0");
  CHECK(child.wait() == ExitStatus::exited(0));
  prime(handle);
}
