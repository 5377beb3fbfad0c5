#include "os/directory.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "ipcm/error.h"
#include "os/fifo.h"
#include "os/pipe.h"
#include "os/socket.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using namespace ipcm::os;
using ipcm::test::contains;
using ipcm::test::error_of;
using ipcm::test::kHang;
using ipcm::test::names_in;
using ipcm::test::Tidy;

namespace {

void make_directory(const std::string& path) { REQUIRE(::mkdir(path.c_str(), 0700) == 0); }

}  // namespace

TEST_CASE_FIXTURE(Tidy, "directory: files are written whole, read, and removed") {
  const Directory here(directory());
  CHECK(here.path() == directory());
  CHECK(here.names().empty());
  here.write_file("a", "one", 0600);
  CHECK(here.read_file("a") == "one");
  CHECK(here.look("a").kind == FileKind::regular);
  CHECK(here.look("a").mode == 0600);
  CHECK(here.look("a").size == 3);
  CHECK(here.look("a").owner == own_user());
  here.write_file("a", "");
  CHECK(here.read_file("a") == "");
  CHECK(here.names() == std::vector<std::string>{"a"});  // no temporary file is left
  CHECK(here.names() == std::vector<std::string>{"a"});  // a second call gives the same
  here.remove_file("a");
  here.remove_file("a");
  CHECK_FALSE(here.read_file("a"));
  CHECK(here.look("a").kind == FileKind::none);
  CHECK_THROWS_AS(Directory(directory() + "/none"), SystemError);
}

TEST_CASE_FIXTURE(Tidy, "directory: a file beyond the limit is refused, and links are not followed") {
  const Directory here(directory());
  here.write_file("large", std::string(100, 'x'));
  CHECK(here.read_file("large", 100)->size() == 100);
  CHECK_THROWS_AS((void)here.read_file("large", 99), ProtocolError);
  REQUIRE(::symlink("large", (directory() + "/link").c_str()) == 0);
  CHECK_THROWS_AS((void)here.read_file("link"), SystemError);
  CHECK_FALSE(here.open_existing("link"));
  CHECK_THROWS_AS((void)here.read_file("."), SystemError);
  here.remove_file("link");
  CHECK(here.read_file("large"));
  here.remove_file("large");
}

TEST_CASE_FIXTURE(Tidy, "directory: every kind of file is distinguished") {
  const Directory here(directory());
  make_directory(directory() + "/d");
  REQUIRE(::mkfifo((directory() + "/f").c_str(), 0600) == 0);
  REQUIRE(::symlink("d", (directory() + "/l").c_str()) == 0);
  const UniqueFd socket = listen_at(here, "s");
  CHECK(here.look("d").kind == FileKind::directory);
  CHECK(here.look("f").kind == FileKind::fifo);
  CHECK(here.look("s").kind == FileKind::socket);
  CHECK(here.look("l").kind == FileKind::other);
  for (const char* name : {"f", "l", "s"}) here.remove_file(name);
  here.remove_file("d");  // does nothing: a directory is no file
  CHECK(here.look("d").kind == FileKind::directory);
  ::rmdir((directory() + "/d").c_str());
}

TEST_CASE_FIXTURE(Tidy, "directory: a file is opened or made, and `created` says which") {
  const Directory here(directory());
  bool created = false;
  {
    const UniqueFd file = here.open_or_create("a", 0600, &created);
    CHECK(created);
    write_all(file.get(), "content", "a");
  }
  const UniqueFd again = here.open_or_create("a", 0600, &created);
  CHECK_FALSE(created);
  CHECK(read_all(again.get(), 100, "a") == "content");
  truncate(again.get());
  CHECK(facts_of(again.get()).size == 0);
  write_all(again.get(), "x", "a");
  CHECK(here.read_file("a") == "x");
  here.remove_file("a");
  CHECK(facts_of(again.get()).links == 0);
}

TEST_CASE_FIXTURE(Tidy, "directory: it stays the same though it is renamed or removed") {
  const std::string path = directory() + "/before", after = directory() + "/after";
  make_directory(path);
  const Directory here(path);
  REQUIRE(::rename(path.c_str(), after.c_str()) == 0);
  here.write_file("a", "x");
  CHECK(test::read_file(after + "/a") == "x");
  CHECK(test::read_file(here.short_path("a")) == "x");
  CHECK(here.short_path("a").size() < 40);
  CHECK(here.facts().links > 0);
  CHECK(std::filesystem::remove_all(after) > 0);
  CHECK(here.facts().links == 0);
  CHECK(here.names().empty());
  CHECK_THROWS_AS(here.write_file("a", "x"), SystemError);
}

TEST_CASE_FIXTURE(Tidy, "directory: a private one is new, ours alone, and named as asked") {
  const std::string a = make_private_directory(directory(), "ipcm-"),
                    b = make_private_directory(directory(), "ipcm-");
  CHECK(a != b);
  CHECK(a.starts_with(directory() + "/ipcm-"));
  CHECK(a.size() == directory().size() + 12);
  CHECK(look_at(a).kind == FileKind::directory);
  CHECK(look_at(a).mode == 0700);
  CHECK_THROWS_AS((void)make_private_directory(directory() + "/none", "x"), SystemError);
  ::rmdir(a.c_str());
  ::rmdir(b.c_str());
}

TEST_CASE_FIXTURE(Tidy, "directory: a file that can't be executed gives an errno") {
  CHECK(why_not_executable("/bin/sh") == 0);
  CHECK(why_not_executable(directory() + "/none") == ENOENT);
  CHECK(why_not_executable(directory()) == EACCES);
  test::write_file(directory() + "/plain", "x");
  CHECK(why_not_executable(directory() + "/plain") == EACCES);
  ::unlink((directory() + "/plain").c_str());
}

TEST_CASE_FIXTURE(Tidy, "directory: the runtime directory is the user's own, else the temporary one") {
  const std::string mine = directory() + "/mine";
  make_directory(mine);
  ::setenv("TMPDIR", "/some/tmp", 1);
  ::setenv("XDG_RUNTIME_DIR", mine.c_str(), 1);
  CHECK(runtime_directory() == mine);
  for (const std::string& unusable :
       {mine + "/none", std::string(), std::string("."), std::string("/dev/null")}) {
    CAPTURE(unusable);
    ::setenv("XDG_RUNTIME_DIR", unusable.c_str(), 1);
    CHECK(runtime_directory() == "/some/tmp");
  }
  ::setenv("XDG_RUNTIME_DIR", mine.c_str(), 1);
  if (::chown(mine.c_str(), own_user() + 1, static_cast<gid_t>(-1)) == 0)
    CHECK(runtime_directory() == "/some/tmp");
  else
    MESSAGE("skipped: only root can give a directory to somebody else");
  ::unsetenv("XDG_RUNTIME_DIR");
  CHECK(runtime_directory() == "/some/tmp");
  const auto all = runtime_directories();
  CHECK(all.front() == "/some/tmp");
  CHECK(std::count(all.begin(), all.end(), "/tmp") == 1);
  ::setenv("TMPDIR", "", 1);
  CHECK(runtime_directory() == "/tmp");
  ::unsetenv("TMPDIR");
  CHECK(runtime_directory() == "/tmp");
  const auto fewer = runtime_directories();
  CHECK(std::count(fewer.begin(), fewer.end(), "/tmp") == 1);
  ::rmdir(mine.c_str());
}

TEST_CASE_FIXTURE(Tidy, "directory: an empty TMPDIR names no directory") {
  ::unsetenv("XDG_RUNTIME_DIR");
  ::setenv("TMPDIR", "", 1);
  for (const std::string& one : runtime_directories()) CHECK_FALSE(one.empty());
}

TEST_CASE_FIXTURE(Tidy,
                  "socket and pipe: their names appear when they are complete, and nothing else stays") {
  const Directory here(directory());
  const UniqueFd changes(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  REQUIRE(::inotify_add_watch(changes.get(), directory().c_str(), IN_CREATE | IN_MOVED_TO) >= 0);
  const UniqueFd listener = listen_at(here, "s");
  const UniqueFd pipe = make_fifo_at(here, "p");
  CHECK(error_of<SystemError>([&] { (void)make_fifo_at(here, "p"); }).find("File exists") !=
        std::string::npos);
  std::vector<std::string> created, renamed;
  alignas(inotify_event) std::array<char, 4096> events{};
  const ssize_t size = ::read(changes.get(), events.data(), events.size());
  for (ssize_t at = 0; at < size;) {
    const auto* event = reinterpret_cast<const inotify_event*>(events.data() + at);
    ((event->mask & IN_CREATE) != 0 ? created : renamed).emplace_back(event->name);
    at += static_cast<ssize_t>(sizeof *event + event->len);
  }
  CHECK(renamed == std::vector<std::string>{"s", "p"});
  for (const std::string& name : created) CHECK(name.ends_with(".pend"));
  CHECK(names_in(directory()) == std::vector<std::string>{"p", "s"});
  for (const char* name : {"s", "p"}) here.remove_file(name);
}

TEST_CASE_FIXTURE(Tidy, "socket: two ends find each other under a name, however long the path is") {
  std::string path = directory();
  for (int i = 0; i < 3; ++i) make_directory(path += "/" + std::string(100, 'd'));
  const Directory here(path);
  CHECK_FALSE(connect_to(here, "s", Deadline::after(kHang)));
  const UniqueFd listener = listen_at(here, "s");
  CHECK(error_of<SystemError>([&] { (void)listen_at(here, "s"); }).find("File exists") != std::string::npos);
  const auto caller = connect_to(here, "s", Deadline::after(kHang));
  REQUIRE(caller);
  UniqueFd reserve = make_reserve();
  const Accepted accepted = accept_from(listener.get(), reserve);
  const UniqueFd* called = &accepted.socket;
  REQUIRE(*called);
  CHECK_FALSE(accepted.refused);
  const Accepted none = accept_from(listener.get(), reserve);
  CHECK_FALSE(none.socket);
  CHECK_FALSE(none.refused);
  CHECK(none.error == 0);
  CHECK(identity_of_peer(called->get())->pid == ::getpid());
  CHECK(identity_of_peer(called->get())->user == own_user());

  std::size_t count = 0;
  const std::vector<std::string_view> pieces{"he", "", "ad", "body"};
  CHECK(send_some(caller->get(), pieces, &count) == SendResult::some);
  CHECK(count == 8);
  std::string text(100, '\0');
  CHECK(receive_some(called->get(), text, &count) == ReadResult::some);
  CHECK(text.substr(0, count) == "headbody");
  CHECK(receive_some(called->get(), text, &count) == ReadResult::later);
  CHECK(count == 0);
  // NOLINTNEXTLINE(bugprone-string-constructor): more than a socket takes
  const std::string large(100'000'000, 'x');
  CHECK(send_some(caller->get(), large, &count) == SendResult::some);
  CHECK(count < large.size());
  SendResult last = SendResult::some;
  while (last == SendResult::some) last = send_some(caller->get(), large, &count);
  CHECK(last == SendResult::later);
  CHECK(count == 0);
  CHECK(std::filesystem::remove_all(directory() + "/" + std::string(100, 'd')) > 0);
}

TEST_CASE_FIXTURE(Tidy, "socket: a listener whose queue stays full is a Timeout, as late as was asked for") {
  const Directory here(directory());
  const UniqueFd listener = listen_at(here, "s");
  REQUIRE(::listen(listener.get(), 1) == 0);
  std::vector<UniqueFd> callers;
  for (;;) {
    try {
      callers.push_back(std::move(*connect_to(here, "s", Deadline::passed())));
    } catch (const Timeout&) {
      break;
    }
  }
  CHECK(callers.size() == 2);
  const auto began = Clock::now();
  CHECK_THROWS_AS((void)connect_to(here, "s", Deadline::after(std::chrono::milliseconds(50))), Timeout);
  CHECK(Clock::now() - began >= std::chrono::milliseconds(50));
  here.remove_file("s");
}

TEST_CASE_FIXTURE(Tidy, "socket: an end that has gone is told as such, without a signal") {
  const Directory here(directory());
  UniqueFd listener = listen_at(here, "s"), reserve = make_reserve();
  auto caller = connect_to(here, "s", Deadline::after(kHang));
  const Accepted accepted = accept_from(listener.get(), reserve);
  const UniqueFd* called = &accepted.socket;
  REQUIRE(*called);
  caller->reset();
  std::size_t count = 0;
  std::string text(10, '\0');
  CHECK(receive_some(called->get(), text, &count) == ReadResult::end);
  CHECK(send_some(called->get(), "x", &count) == SendResult::closed);
  listener.reset();
  CHECK_FALSE(connect_to(here, "s", Deadline::after(kHang)));  // a name without a listener
  here.remove_file("s");
  here.write_file("s", "no socket");
  CHECK_FALSE(connect_to(here, "s", Deadline::after(kHang)));
  here.remove_file("s");
}
