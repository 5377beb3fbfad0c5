// Client::batch(): many messages with one call. On protocols that gain nothing by it, the results are the
// same as without a batch.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "bus/member.h"
#include "contract.h"
#include "os/pipe.h"
#include "os/random.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

/// For tests of messages that stay in this process until the batch ends.
LeaveOut gathering() { return {protocol() != "ConnectionUnix"}; }

std::vector<int> numbers_of(const std::vector<Message>& messages) {
  std::vector<int> numbers;
  for (const Message& message : messages) numbers.push_back(message.content.as<int>());
  return numbers;
}
std::vector<int> up_to(int count) {
  std::vector<int> numbers;
  for (int i = 0; i < count; ++i) numbers.push_back(i);
  return numbers;
}

/// Returns the body of a member that stays until the test ends it.
std::function<int(Lines&)> staying(const std::string& name, const BusInfo& info) {
  return [=](Lines& test) {
    const Client client = ipcm_connect(name, info);
    test.say("joined");
    test.hear();
    return 0;
  };
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "A16: a batch arrives whole and in order, between single messages") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  a.send_message("b", 0);
  {
    const Batch batch = a.batch();
    for (int i = 1; i < 6; ++i) CHECK(a.send_message("b", i).size() == 36);
  }
  a.send_message("b", 6);
  const auto got = collect(b, 7);
  CHECK(numbers_of(got) == up_to(7));
  for (std::size_t i = 1; i < got.size(); ++i) {
    CHECK(got[i].id != got[i - 1].id);
    CHECK(std::pair(got[i - 1].stamp, got[i - 1].stamp_ord) < std::pair(got[i].stamp, got[i].stamp_ord));
    CHECK(got[i].from == "a");
    CHECK(got[i].to == "b");
  }
  CHECK(a.statistics().sent == std::map<std::string, std::uint64_t>{{"b", 7}});
  CHECK(b.statistics().read == std::map<std::string, std::uint64_t>{{"a", 7}});
}

TEST_CASE_FIXTURE(Tidy, "A16: a batch of many messages, small and large, arrives whole and in order" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  constexpr int kMany = 3000;
  // Every 500th message is larger than the limit of a batch.
  const auto content = [](int i) {
    return std::to_string(i) + (i % 500 == 7 ? std::string(100'000, 'x') : "");
  };
  Forked b([&](Lines&) {
    Client client = ipcm_connect("b", guard.info());
    Batch batch = client.batch();
    for (int i = 0; i < kMany; ++i) {
      client.send_message("a", content(i));
      if (i % 1000 == 999) batch.flush();
    }
    return 0;
  });
  const auto got = collect(a, kMany);
  REQUIRE(got.size() == kMany);
  for (int i = 0; i < kMany; ++i)
    REQUIRE(got[static_cast<std::size_t>(i)].content.as<std::string>() == content(i));
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A16: nothing is held back beyond flush, the end of a batch, or of one inside it") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info()),
         c = ipcm_connect("c", guard.info());
  Batch batch = a.batch();
  a.send_message("b", 1);
  a.send_message("c", 2);
  batch.flush();
  CHECK(numbers_of(collect(b, 1)) == std::vector<int>{1});
  CHECK(numbers_of(collect(c, 1)) == std::vector<int>{2});
  a.send_message("b", 3);
  { const Batch inside = a.batch(); }
  CHECK(numbers_of(collect(b, 1)) == std::vector<int>{3});
  a.send_message("c", 4);
  { const Batch end = std::move(batch); }
  CHECK(numbers_of(collect(c, 1)) == std::vector<int>{4});
  a.send_message("c", 5);  // without a batch
  CHECK(numbers_of(collect(c, 1)) == std::vector<int>{5});
  CHECK_THROWS_AS(batch.flush(), UsageError);  // NOLINT: moved from on purpose
}

TEST_CASE_FIXTURE(Tidy, "A16: a batch is held back until it is flushed, or large enough" * gathering()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  Batch batch = a.batch();
  a.send_message("b", 1);
  CHECK(b.get_messages().empty());
  a.send_message("b", std::string(20'000, 'x'));  // too large: sent at once, after the other
  CHECK(b.get_messages().size() == 2);
  for (int i = 0; i < 1000; ++i) a.send_message("b", std::string(100, 'x'));
  const auto some = b.get_messages().size();  // more than 64 KiB are sent at once
  CHECK(some > 100);
  CHECK(some < 1000);
  batch.flush();
  CHECK(b.get_messages().size() == 1000 - some);
}

TEST_CASE_FIXTURE(Tidy, "A16: a broadcast in a batch arrives after the messages before it") {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  const Batch batch = a.batch();
  a.send_message("b", 0);
  a.broadcast(1).expect_sent();
  CHECK(numbers_of(collect(b, 2)) == up_to(2));
}

TEST_CASE_FIXTURE(Tidy, "A16: a batch is sent before its sender waits" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    test.say("joined");
    for (const Message& message : collect(client, 2)) client.send_message("a", message.content);
    return 0;
  });
  CHECK(b.hear() == "joined");
  const Batch batch = a.batch();
  a.send_message("b", 0);
  a.send_message("b", 1);
  CHECK(numbers_of(collect(a, 2)) == up_to(2));
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A16: a request in a batch comes after the messages before it, and is answered" *
                            needs_processes()) {
  ServiceOptions counting;
  auto heard = std::make_shared<int>(0);
  counting.on_general_message = [heard](Service&, const Message&) { ++*heard; };
  counting.handle_request = [heard](Service&, const Request&) { return *heard; };
  Handle handle = start("counts", counting);
  const Batch batch = handle.client().batch();
  for (int i = 0; i < 3; ++i) handle.client().send_message("counts", i);
  CHECK(handle.sync_request<int>("how many?", kHang) == 3);
  handle.client().send_message("counts", 3);
  const std::string id = handle.send_request("how many?");
  handle.client().send_message("counts", 4);
  CHECK(handle.await_response(id, kHang).as<int>() == 4);
  CHECK(handle.sync_request<int>("how many?", kHang) == 5);
}

TEST_CASE_FIXTURE(Tidy, "A16: a service sends batches, too" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  ServiceOptions pouring;
  pouring.handle_request = [](Service& self, const Request& request) {
    const Batch batch = self.client().batch();
    for (int i = 0; i < request.as<int>(); ++i) self.client().send_message("a", i);
    return "poured";
  };
  Handle handle = start_on(guard.info(), "pours", pouring);
  // More than a socket holds: a service does not wait for its readers, but queues messages.
  CHECK(handle.sync_request<std::string>(500, kHang) == "poured");
  CHECK(numbers_of(collect(a, 500)) == up_to(500));
}

TEST_CASE_FIXTURE(Tidy, "A16: an unknown peer is reported at once, a dead one when the batch is sent" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked b(staying("b", guard.info()));
  CHECK(b.hear() == "joined");
  Batch batch = a.batch();
  CHECK_THROWS_AS(a.send_message("stranger", 1), PeerGone);
  CHECK_FALSE(a.try_message("stranger", 1));
  a.send_message("b", 1);
  batch.flush();
  b.kill(SIGKILL);
  b.await_end();
  const auto gone = thrown_by<PeerGone>([&] {
    a.send_message("b", 2);
    a.send_message("b", 3);
    batch.flush();
  });
  CHECK(gone.peer() == "b");
  CHECK(a.statistics().sent == std::map<std::string, std::uint64_t>{{"b", 1}});
  batch.flush();  // the error is reported only once
}

TEST_CASE_FIXTURE(Tidy,
                  "A16: a batch that fails for one peer reaches the others, and all failures are reported" *
                      gathering()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), c = ipcm_connect("c", guard.info()),
         d = ipcm_connect("d", guard.info());
  Forked b(staying("b", guard.info()));
  CHECK(b.hear() == "joined");
  a.send_message("b", 0);
  Strings told;
  a.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  const auto fill = [&] {
    for (const char* peer : {"c", "b", "d"})
      for (int i = 0; i < 2; ++i) (void)a.try_message(peer, i);
  };
  {
    Batch batch = a.batch();
    fill();
    b.kill(SIGKILL);
    b.await_end();
    const auto gone = thrown_by<PeerGone>([&] { batch.flush(); });
    CHECK(gone.peer() == "b");
    CHECK(contains(gone.what(), "the batch of 2 messages from 'a' to 'b'"));
    CHECK(told.empty());
    CHECK(numbers_of(collect(c, 2)) == up_to(2));
    CHECK(numbers_of(collect(d, 2)) == up_to(2));
  }
  CHECK(told.empty());
  CHECK(a.statistics().sent == std::map<std::string, std::uint64_t>{{"b", 1}, {"c", 2}, {"d", 2}});

  // The end of a batch does not throw; it reports.
  Forked again(staying("b", guard.info()));
  CHECK(again.hear() == "joined");
  {
    const Batch batch = a.batch();
    fill();
    again.kill(SIGKILL);
    again.await_end();
  }
  REQUIRE(told.size() == 1);
  CHECK(contains(told[0], "the batch of 2 messages from 'a' to 'b' can't be sent"));
  CHECK(a.dropped() == 1);
  CHECK(collect(c, 2).size() == 2);
}

TEST_CASE_FIXTURE(Tidy, "A16: collected messages go to a successor, as single messages do" * gathering()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Forked first(staying("b", guard.info()));
  CHECK(first.hear() == "joined");
  Batch batch = a.batch();
  a.send_message("b", 0);
  batch.flush();
  a.send_message("b", 0);
  a.send_message("b", 1);
  first.kill(SIGKILL);
  first.await_end();
  Client second = ipcm_connect("b", guard.info());
  batch.flush();
  CHECK(numbers_of(collect(second, 2)) == up_to(2));
}

TEST_CASE_FIXTURE(Tidy, "A16: a forked child's copy of a batch is inert" * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  {
    Batch batch = a.batch();
    a.send_message("b", 0);
    Forked child([&](Lines& test) {
      bool refused = false;
      try {
        batch.flush();
      } catch (const UsageError&) {
        refused = true;
      }
      { const Batch end = std::move(batch); }
      test.say(refused ? "refused" : "sent");
      return 0;
    });
    CHECK(child.hear() == "refused");
    CHECK(child.wait() == ExitStatus::exited(0));
    a.send_message("b", 1);
  }
  CHECK(numbers_of(collect(b, 2)) == up_to(2));
  CHECK(b.get_messages().empty());
}

TEST_CASE_FIXTURE(Tidy, "A16: leaving the bus sends the collected messages, and ends the batch") {
  const Guard guard = spawn_bus();
  Client b = ipcm_connect("b", guard.info());
  Client a = ipcm_connect("a", guard.info());
  Batch batch = a.batch();
  a.send_message("b", 0);
  a.send_message("b", 1);
  a.disconnect();
  CHECK(numbers_of(collect(b, 2)) == up_to(2));
  CHECK_THROWS_AS(batch.flush(), UsageError);
}

TEST_CASE_FIXTURE(Tidy,
                  "A16: a sender of batches waits for a slow reader, and receives its messages meanwhile" *
                      needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  // More than any socket or pipe holds. On a protocol that keeps messages, the sender does not wait.
  const std::size_t many = keeps_messages() ? 100 : 2000;
  Forked b([&](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    test.say("joined");
    {
      const Batch batch = client.batch();
      for (std::size_t i = 0; i < many; ++i) client.send_message("a", std::string(1000, 'b'));
    }
    if (client.pending_sends() != 0) return 1;
    return collect(client, many).size() == many ? 0 : 2;
  });
  CHECK(b.hear() == "joined");
  {
    const Batch batch = a.batch();
    for (std::size_t i = 0; i < many; ++i) a.send_message("b", std::string(1000, 'a'));
  }
  CHECK(a.pending_sends() == 0);
  CHECK(collect(a, many).size() == many);
  CHECK(b.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "A16: while a batch waits for a slow reader, its messages to others are out" *
                            needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  const std::size_t many = keeps_messages() ? 100 : 2000;
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const auto [heard, tell] = ends;  // plain numbers: a fork closes a UniqueFd
  // b reads nothing before c has received the first messages to it.
  Forked b([&, end = heard](Lines& test) {
    Client client = ipcm_connect("b", guard.info());
    test.say("joined");
    char byte = 0;
    if (::read(end, &byte, 1) != 1) return 1;
    return collect(client, many).size() == many ? 0 : 2;
  });
  Forked c([&, end = tell](Lines& test) {
    Client client = ipcm_connect("c", guard.info());
    test.say("joined");
    (void)collect(client, 1);
    return ::write(end, "x", 1) == 1 ? 0 : 1;
  });
  ::close(heard);
  ::close(tell);
  CHECK(b.hear() == "joined");
  CHECK(c.hear() == "joined");
  Batch batch = a.batch();
  a.send_message("c", "first");
  for (std::size_t i = 0; i < many; ++i) a.send_message("b", std::string(1000, 'a'));
  batch.flush();
  CHECK(c.wait() == ExitStatus::exited(0));
  CHECK(b.wait() == ExitStatus::exited(0));
  CHECK(a.statistics().sent == std::map<std::string, std::uint64_t>{{"b", many}, {"c", 1}});
}

TEST_CASE_FIXTURE(Tidy, "A16: a service's queue for a peer that does not read is limited in a batch, too" *
                            gathering()) {
  const Guard guard = spawn_bus();
  const Client deaf = ipcm_connect("deaf", guard.info());
  ServiceOptions pouring;
  pouring.handle_request = [](Service& self, const Request&) -> Answer {
    const Batch batch = self.client().batch();
    // Text that does not compress: the limit counts the bytes that are sent.
    std::string piece(4000, ' ');
    for (std::size_t i = 0; i < piece.size(); i += 8)
      for (std::uint64_t bits = os::random_bits(), k = 0; k < 8; ++k, bits >>= 8U)
        piece[i + k] = static_cast<char>('!' + bits % 91);
    std::replace(piece.begin(), piece.end(), '"', ' ');
    std::replace(piece.begin(), piece.end(), '\\', ' ');
    constexpr int kFarTooMany = 40'000;  // 160 MB
    std::string why;
    for (int sent = 0; sent < kFarTooMany; ++sent)
      if (!self.client().try_message("deaf", piece, &why)) return Strings{std::to_string(sent), why};
    return Strings{std::to_string(kFarTooMany), why};
  };
  Handle handle = start_on(guard.info(), "pours", pouring);
  const auto answer = handle.sync_request<Strings>("pour", kHang);
  REQUIRE(answer.size() == 2);
  CHECK(contains(answer[1], "does not read"));
  const int sent = std::stoi(answer[0]);
  constexpr int kLimit = 64 * 1024 * 1024 / 4000;
  CHECK(sent > kLimit * 9 / 10);
  CHECK(sent < kLimit * 13 / 10);  // letters of 91 kinds: JSON::Zstd saves a fifth at most
}

namespace {

/// Fills the channel to a peer that does not read, so that the next message has to wait.
void fill_way(const Client& client, const std::string& peer) {
  const Message message{"filler", client.id(), peer, 1, 0, false, Content(std::string(10'000, 'x'))};
  while (client.member().transport().send(message).sent == transport::Transport::Sent::done) {
  }
}

/// The size of the last message to a slow() member, which reads nothing until the test tells it to. Then it
/// reads everything up to that message.
constexpr std::size_t kLast = 9000;
std::function<int(Lines&)> slow(const std::string& name, const BusInfo& info) {
  return [=](Lines& test) {
    Client client = ipcm_connect(name, info);
    test.say("joined");
    test.hear();
    for (;;)
      for (const Message& message : client.wait_for_messages(kHang))
        if (message.content.as<std::string>().size() == kLast) return 0;
  };
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "A16: a message lost while the batch waits for another peer is reported once" *
                            gathering()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Strings told;
  a.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  const auto lose_c_while_b_is_waited_for = [&](bool flushes) {
    Forked b(slow("b", guard.info())), c(staying("c", guard.info()));
    CHECK(b.hear() == "joined");
    CHECK(c.hear() == "joined");
    fill_way(a, "b");
    fill_way(a, "c");
    {
      Batch batch = a.batch();
      a.send_message("c", 1);
      a.send_message("c", 2);
      // The loop runs only during a wait for a reader.
      const Watch meanwhile = a.member().loop().at(os::Clock::now(), [&] {
        c.kill(SIGKILL);
        c.await_end();
        b.say("read");
      });
      a.send_message("b", std::string(kLast, 'x'));
      CHECK(b.wait() == ExitStatus::exited(0));
      CHECK(told.empty());
      if (flushes) {
        const auto gone = thrown_by<PeerGone>([&] { batch.flush(); });
        CHECK(gone.peer() == "c");
        CHECK(contains(gone.what(), "the batch of 2 messages from 'a' to 'c' was not taken whole"));
        batch.flush();  // the error is reported only once
      }
    }
    CHECK(a.statistics().sent.at("c") == 0);
  };
  lose_c_while_b_is_waited_for(true);
  CHECK(told.empty());
  CHECK(a.dropped() == 0);
  lose_c_while_b_is_waited_for(false);
  REQUIRE(told.size() == 1);
  CHECK(contains(told[0], "the batch of 2 messages from 'a' to 'c' was not taken whole"));
  CHECK(a.dropped() == 1);
}

TEST_CASE_FIXTURE(Tidy,
                  "A16: a sender whose wait fails gets one error, and the messages that arrived meanwhile" *
                      kept_messages(false) * needs_processes()) {
  const Guard guard = spawn_bus();
  Client a = ipcm_connect("a", guard.info());
  Client d = ipcm_connect("d", guard.info());
  d.send_message("a", "before");
  CHECK(collect(a, 1).size() == 1);
  Strings told;
  a.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  Forked c(staying("c", guard.info()));
  CHECK(c.hear() == "joined");
  fill_way(a, "c");
  const Watch meanwhile = a.member().loop().at(os::Clock::now(), [&] {
    d.send_message("a", "meanwhile");
    c.kill(SIGKILL);
    c.await_end();
  });
  const auto gone = thrown_by<PeerGone>([&] { a.send_message("c", 1); });
  CHECK(gone.peer() == "c");
  CHECK(told.empty());
  CHECK(a.dropped() == 0);
  CHECK(becomes_readable(a.fd()));
  CHECK(collect_contents(a, 1) == Strings{R"("meanwhile")"});
}
