// MessageFiles as other programs see it: the tests write files as a peer of the reference does.

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <stdexcept>

#include "bus/member.h"
#include "contract.h"
#include "os/directory.h"
#include "os/events.h"
#include "os/process.h"
#include "transport/message_files/outbox.h"

using namespace ipcm;
using namespace ipcm::test;

namespace {

Guard spawn() {
  SpawnOptions options;
  options.protocols = {"MessageFiles"};
  return ipcm_spawn(options);
}

std::string message(const std::string& id, double stamp, const std::string& content) {
  return R"({"stamp":)" + std::to_string(stamp) + R"(,"id":")" + id + R"(","content":)" + content +
         R"(,"to":"a","stamp_ord":0,"from":"perl"})";
}
/// Delivers as the reference does: writes the file under another name, then renames it.
void deliver(const std::string& mailbox, const std::string& file, const std::string& text) {
  write_file(mailbox + "/" + file + ".pend", text);
  REQUIRE(::rename((mailbox + "/" + file + ".pend").c_str(), (mailbox + "/" + file + ".ready").c_str()) == 0);
}
/// Waits for an event of that name.
void await_name(os::DirectoryWatch& watch, const std::string& name) {
  os::EventSet events;
  events.add(watch.fd(), EPOLLIN, 0);
  for (bool seen = false; !seen;) {
    std::array<epoll_event, 1> one{};
    if (events.wait(one, os::Deadline::after(kHang)) == 0)
      throw std::runtime_error("nothing happens to " + name);
    watch.read([&](std::string_view changed) { seen = seen || changed == name; });
  }
}
const std::string kId = "01A2050B-EF33-7769-9AB2-B6C36F6D7024";

}  // namespace

TEST_CASE_FIXTURE(Tidy, "MessageFiles: the mailbox is a directory, there before the pid file says so") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  Client a = ipcm_connect("a", guard.info());
  CHECK(os::look_at(route).mode == 0700);
  CHECK(os::look_at(route + "/a").kind == os::FileKind::directory);
  CHECK(read_file(route + "/a.pid") == std::to_string(::getpid()));
  CHECK(names_in(route + "/a").empty());
  const Client odd = ipcm_connect("a/b", guard.info());
  const std::string hashed = route + "/h-c14cddc033f64b9dea80ea675cf280a015e67251";
  CHECK(os::look_at(hashed).kind == os::FileKind::directory);
  CHECK(read_file(hashed + ".name") == "a/b");
  const Client verbatim = ipcm_connect(std::string(200, 'n'), guard.info());
  CHECK(os::look_at(route + "/" + std::string(200, 'n')).kind == os::FileKind::directory);
  a.disconnect();
  for (const std::string& name : names_in(route)) {
    CHECK_FALSE(name.starts_with("_"));
    CHECK_FALSE(name.starts_with("a"));
  }
}

TEST_CASE_FIXTURE(Tidy, "MessageFiles: to a peer of the reference goes one file, named by the message's id") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  Client a = ipcm_connect("a", guard.info());
  Forked perl([](Lines& test) {
    test.hear();
    return 0;
  });
  REQUIRE(::mkdir((route + "/perl").c_str(), 0755) == 0);
  write_file(route + "/perl.pid", std::to_string(perl.pid()));
  CHECK(a.peers() == Strings{"perl"});
  CHECK(a.peer_pid("perl") == perl.pid());
  const std::string id = a.send_message("perl", "gr\xc3\xbc\xc3\x9f");
  CHECK(names_in(route + "/perl") == Strings{id + ".ready"});
  const std::string text = read_file(route + "/perl/" + id + ".ready");
  CHECK(text.starts_with(R"({"id":")" + id + R"(","from":"a","to":"perl","stamp":)"));
  CHECK(text.ends_with(R"("content":"gr\u00fc\u00df"})"));
  // A peer of the reference suspends by removing its pid file. Messages to it are kept.
  ::unlink((route + "/perl.pid").c_str());
  a.send_message("perl", 2);
  CHECK(a.peers() == Strings{"perl"});
  CHECK_FALSE(a.peer_active("perl"));
  CHECK(names_in(route + "/perl").size() == 2);
  // The peer returns, and dies with unread messages.
  write_file(route + "/perl.pid", std::to_string(perl.pid()));
  perl.kill(SIGKILL);
  perl.await_end();
  CHECK_FALSE(a.try_message("perl", 3));
  CHECK(a.peers().empty());
  CHECK(names_in(route + "/perl").size() == 2);
  for (const std::string& file : names_in(route + "/perl")) ::unlink((route + "/perl/" + file).c_str());
  CHECK(a.peers().empty());
  CHECK(names_in(route) == Strings{".a.lock", ".info", ".owner", "a", "a.pid"});
}

TEST_CASE_FIXTURE(
    Tidy, "MessageFiles: files laid there by hand are read in the order of their stamps, then removed") {
  const Guard guard = spawn();
  const std::string mailbox = guard.info().route + "/a";
  Client a = ipcm_connect("a", guard.info());
  deliver(mailbox, "z", message(kId, 1795380997.5, "1"));
  deliver(mailbox, "m m", message("not a uuid", 1795380997.6, "2"));
  deliver(mailbox, "a", message("", 1795380997.7, "3"));   // without an id: it gets one
  deliver(mailbox, "b", message(kId, 1795380997.8, "4"));  // a known id: also a message
  write_file(mailbox + "/half.pend", message(kId, 1795380990, "0"));
  const auto got = collect(a, 4);
  CHECK(got.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(got[i].content.as<std::size_t>() == i + 1);
  CHECK(got[0].id == kId);
  CHECK(got[2].id.size() == 36);
  CHECK(names_in(mailbox).size() == 5);  // removed only by the next read
  CHECK(a.get_messages().empty());
  CHECK(names_in(mailbox) == Strings{"half.pend"});
  REQUIRE(::rename((mailbox + "/half.pend").c_str(), (mailbox + "/half.ready").c_str()) == 0);
  CHECK(collect_contents(a, 1) == Strings{"0"});
  CHECK(a.dropped() == 0);
}

TEST_CASE_FIXTURE(Tidy, "MessageFiles: no message is missed that comes as soon as the pid file is there") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  constexpr int kRounds = 50;
  Forked perl([&](Lines& test) {
    os::DirectoryWatch watch(route);
    test.say("watching");
    for (int round = 0; round < kRounds; ++round) {
      await_name(watch, "a.pid");
      const std::string file = route + "/a/" + std::to_string(round);
      write_file(file + ".pend", message(std::to_string(round), 1795380997, std::to_string(round)));
      if (::rename((file + ".pend").c_str(), (file + ".ready").c_str()) != 0) return 1;
      test.hear();
      watch.read([](std::string_view) {});
      test.say("next");
    }
    return 0;
  });
  CHECK(perl.hear() == "watching");
  for (int round = 0; round < kRounds; ++round) {
    Client a = ipcm_connect("a", guard.info());
    CHECK(a.wait_for_messages(kHang).at(0).content.as<int>() == round);
    a.disconnect();
    perl.say("read");
    CHECK(perl.hear() == "next");
  }
  CHECK(perl.wait() == ExitStatus::exited(0));
}

TEST_CASE_FIXTURE(Tidy, "F4: an entry that is no message is reported, removed, and disturbs nothing") {
  const Guard guard = spawn();
  const std::string mailbox = guard.info().route + "/a";
  write_file(directory() + "/elsewhere", message(kId, 1795380997, "\"from elsewhere\""));
  Client a = ipcm_connect("a", guard.info());
  Strings told;
  a.on_diagnostic([&](const std::string& sentence) { told.push_back(sentence); });
  const std::vector<std::pair<std::string, std::function<void(const std::string&)>>> garbage = {
      {"empty", [](const std::string& at) { write_file(at, ""); }},
      {"no JSON", [](const std::string& at) { write_file(at, "\x01\x02\xff"); }},
      {"cut short", [](const std::string& at) { write_file(at, message(kId, 1, "1").substr(0, 40)); }},
      {"array", [](const std::string& at) { write_file(at, "[1]"); }},
      {"no sender", [](const std::string& at) { write_file(at, R"({"content":1})"); }},
      {"null content", [](const std::string& at) { write_file(at, R"({"from":"x","content":null})"); }},
      {"directory",
       [](const std::string& at) {
         ::mkdir(at.c_str(), 0700);
         write_file(at + "/file", "x");
       }},
      {"FIFO", [](const std::string& at) { ::mkfifo(at.c_str(), 0600); }},
      {"link",
       [&](const std::string& at) {
         REQUIRE(::symlink((directory() + "/elsewhere").c_str(), at.c_str()) == 0);
       }},
      {"too large",
       [](const std::string& at) {
         write_file(at, "");
         std::filesystem::resize_file(at, (64UL << 20U) + 1);
       }},
      {"unreadable", [](const std::string& at) {
         write_file(at, "x");
         ::chmod(at.c_str(), 0);
       }}};
  for (const auto& [kind, lay] : garbage) {
    const std::string what = kind;
    CAPTURE(what);
    told.clear();
    lay(mailbox + "/" + what + ".ready");
    deliver(mailbox, "good", message(kId, 1795380997, "\"good\""));
    CHECK(collect_contents(a, 1) == Strings{"\"good\""});
    CHECK(told.size() == 1);
    if (!told.empty()) CHECK(contains(told[0], what));
    CHECK(a.get_messages().empty());
    CHECK(told.size() <= 1);
    // A directory that is not empty stays, because its content is unknown. The client reports it once.
    const bool stays = what == "directory";
    CHECK(names_in(mailbox).size() == (stays ? 1 : 0));
    if (stays) CHECK(std::filesystem::remove_all(mailbox + "/" + what + ".ready") == 2);
  }
  CHECK(a.dropped() == garbage.size());
  CHECK(std::filesystem::remove(directory() + "/elsewhere"));
}

TEST_CASE_FIXTURE(Tidy, "F4: garbage to a service: it goes on answering, and rests") {
  ServiceOptions options = echoing();
  options.bus.protocols = {"MessageFiles"};
  Handle handle = ipcm_service("a", options);
  const std::string mailbox = handle.info().route + "/a";
  deliver(mailbox, "x", "garbage");
  deliver(mailbox, "y", message(kId, 1795380997, R"({"ipcm_response_id":"nobody asked","response":1})"));
  deliver(mailbox, "z", message(kId, 1795380998, R"({"ipcm_request_id":"nobody there","request":1})"));
  CHECK(handle.sync_request("fine", kHang).as<std::string>() == "fine");
  await_idle(*handle.service_pid());
  CHECK(names_in(mailbox).empty());
}

TEST_CASE_FIXTURE(Tidy, "MessageFiles: a mailbox of any size is taken in pieces, in order") {
  const Guard guard = spawn();
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  constexpr std::size_t kMany = 12, kSize = 8UL << 20U;
  for (std::size_t i = 0; i < kMany; ++i) b.send_message("a", std::to_string(i) + std::string(kSize, 'x'));
  a.dispatch();  // the loop stops reading when the inbox is full
  CHECK_FALSE(names_in(guard.info().route + "/a").empty());
  std::size_t next = 0, rounds = 0;
  while (next < kMany) {
    const auto got = a.wait_for_messages(kHang);
    REQUIRE_FALSE(got.empty());
    CHECK(got.size() < kMany - 2);
    ++rounds;
    for (const Message& message : got)
      CHECK(message.content.as<std::string>().substr(0, 3).starts_with(std::to_string(next++)));
  }
  CHECK(rounds > 1);
  CHECK(a.get_messages().empty());
  CHECK(names_in(guard.info().route + "/a").empty());
}

TEST_CASE_FIXTURE(Tidy, "F5: an unread mailbox becomes full, and has room again after a read") {
  const Guard guard = spawn();
  const std::string mailbox = guard.info().route + "/a";
  Client a = ipcm_connect("a", guard.info()), b = ipcm_connect("b", guard.info());
  b.send_message("a", 0);
  // Hard links to one file, as many as ext4 allows.
  constexpr std::size_t kNames = 50'000;
  const auto file = [&](std::size_t i) { return mailbox + "/" + std::to_string(i) + ".ready"; };
  for (std::size_t i = 1; i < transport::Outbox::kMostMessages; ++i) {
    if (i % kNames == 1)
      write_file(file(i), message(kId, 1795380997, "1"));
    else
      REQUIRE(::link(file(i / kNames * kNames + (i % kNames == 0 ? 1 - kNames : 1)).c_str(),
                     file(i).c_str()) == 0);
  }
  std::string why;
  std::size_t more = 0;
  while (more <= transport::Outbox::kBetweenCounts && b.try_message("a", 0, &why)) ++more;
  CHECK(more < transport::Outbox::kBetweenCounts);
  CHECK(contains(why, "does not read"));
  CHECK_THROWS_AS(b.send_message("a", 0), Error);
  Client late = ipcm_connect("late", guard.info());  // a new sender gets the error too
  CHECK_FALSE(late.try_message("a", 0, &why));
  CHECK(b.try_message("late", 1));  // others are not affected
  CHECK(collect(late, 1).size() == 1);
  for (std::size_t i = 1; i < kNames; ++i) ::unlink(file(i).c_str());  // as the reader does
  CHECK(b.try_message("a", 1));
  CHECK(late.try_message("a", 1));
}

TEST_CASE_FIXTURE(Tidy,
                  "A5: a message written while its reader leaves is read, or its writer gets an error") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  Client a = ipcm_connect("a", guard.info());
  Forked writer([&](Lines& test) {
    os::DirectoryWatch watch(route);
    write_file(route + "/a/x.pend", message(kId, 1795380997, "\"last\""));
    test.say("writing");
    await_name(watch, "_a");
    test.say(::rename((route + "/_a/x.pend").c_str(), (route + "/_a/x.ready").c_str()) == 0 ? "sent"
                                                                                            : "told");
    return 0;
  });
  CHECK(writer.hear() == "writing");
  Strings last;
  a.disconnect([&](const Message& message) { last.push_back(message.content.json()); });
  CHECK(last == (writer.hear() == "sent" ? Strings{"\"last\""} : Strings{}));
  CHECK(writer.wait() == ExitStatus::exited(0));
  CHECK(names_in(route) == Strings{".info", ".owner"});
}

TEST_CASE_FIXTURE(Tidy, "A5: a half-written message of a killed sender does not delay leaving") {
  const Guard guard = spawn();
  Client a = ipcm_connect("a", guard.info());
  write_file(guard.info().route + "/a/x.pend", "{");
  a.disconnect();
  CHECK(names_in(guard.info().route) == Strings{".info", ".owner"});
  // Nor does a half-removed mailbox of a peer that was killed while it left.
  REQUIRE(::mkdir((guard.info().route + "/_a").c_str(), 0755) == 0);
  write_file(guard.info().route + "/_a/y.ready", message(kId, 1, "1"));
  Client again = ipcm_connect("a", guard.info());
  CHECK(again.get_messages().empty());
  again.disconnect();
  CHECK(names_in(guard.info().route) == Strings{".info", ".owner"});
}

TEST_CASE_FIXTURE(Tidy, "A9: a mailbox that another process has just made belongs to that process") {
  const Guard guard = spawn();
  const std::string route = guard.info().route;
  REQUIRE(::mkdir((route + "/perl").c_str(), 0755) == 0);  // before its pid file
  deliver(route + "/perl", "x", message(kId, 1795380997, "1"));
  CHECK_THROWS_AS((void)ipcm_connect("perl", guard.info()), NameTaken);
  CHECK(names_in(route + "/perl") == Strings{"x.ready"});
}
