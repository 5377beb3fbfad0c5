#include "os/process_attributes.h"

#include <unistd.h>

#include <csignal>
#include <string>

#include "ipcm/error.h"
#include "os/accounts.h"
#include "os/pipe.h"
#include "os/process_tree.h"
#include "os/spawn.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using namespace ipcm::os;
using ipcm::test::contains;
using ipcm::test::error_of;
using ipcm::test::kHang;
using ipcm::test::Tidy;

namespace {

struct Ran {
  Child child;
  Pipe output;
};

Ran run_shell(const std::string& script, ProcessAttributes attributes, bool new_session = false) {
  Ran ran{{}, make_pipe()};
  SpawnRequest request;
  request.program = "/bin/sh";
  request.args = {"sh", "-c", script};
  request.env = {"PATH=/usr/bin:/bin"};
  request.fds = {{ran.output.write_end.get(), 1}};
  request.attributes = std::move(attributes);
  request.new_session = new_session;
  auto made = spawn(request);
  if (const auto* failure = std::get_if<SpawnFailure>(&made))
    FAIL("spawn failed: ", failure->call, " ", failure->error);
  ran.child = std::get<Child>(std::move(made));
  ran.output.write_end.reset();
  return ran;
}

std::string output_of(const std::string& script, ProcessAttributes attributes) {
  Ran ran = run_shell(script, std::move(attributes));
  return read_until_end(ran.output.read_end.get(), Deadline::after(kHang), "test");
}

/// Reads one line, which tells that the child has come so far.
void await_line(Ran& ran) {
  std::string text;
  while (text.find('\n') == std::string::npos)
    REQUIRE(read_some(ran.output.read_end.get(), text, 100, "test") == ReadResult::some);
}

}  // namespace

TEST_CASE("process attributes: a child gets its umask, limits, nice and group") {
  const Tidy tidy;
  ProcessAttributes attributes;
  attributes.umask = 0077;
  attributes.nice = 7;
  attributes.limits = {{*resource_number("nofile"), 50, 60}};
  attributes.new_group = attributes.no_new_privileges = attributes.ends_with_parent = true;
  CHECK(output_of("umask; nice; ulimit -n; ulimit -H -n", attributes) == "0077\n7\n50\n60\n");
  CHECK(output_of("grep -c 'NoNewPrivs:.*1' /proc/self/status", attributes) == "1\n");
  CHECK(output_of("[ $(cut -d ' ' -f 5 /proc/$$/stat) = $$ ] && echo leads", attributes) == "leads\n");
}

TEST_CASE("process attributes: a refused one names its system call") {
  ProcessAttributes attributes;
  attributes.limits = {{*resource_number("nofile"), kUnlimited - 1, kUnlimited - 1}};
  SpawnRequest request;
  request.program = "/bin/true";
  request.args = {"true"};
  request.attributes = attributes;
  auto made = spawn(request);
  REQUIRE(std::holds_alternative<SpawnFailure>(made));
  CHECK(std::get<SpawnFailure>(made).step == SpawnStep::set_attributes);
  CHECK(std::string(std::get<SpawnFailure>(made).call) == "prlimit");
}

TEST_CASE("process attributes: another user, with the groups of that user") {
  if (::getuid() != 0) {
    MESSAGE("skipped: needs root");
    return;
  }
  ProcessAttributes attributes;
  attributes.identity = Identity{65534, 65534, {65534, 4}};
  CHECK(output_of("id -u; id -g; id -G", attributes) == "65534\n65534\n65534 4\n");
}

TEST_CASE("accounts: names and numbers become identities") {
  const Identity root = identity_of("root", "");
  CHECK(root.user == 0);
  CHECK(root.group == 0);
  CHECK(identity_of("0", "").group == 0);
  CHECK(identity_of("root", "12345").group == 12345);
  CHECK(identity_of("54321", "7").groups == std::vector<unsigned>{7});
  CHECK(contains(error_of<Error>([] { (void)identity_of("54321", ""); }), "its group"));
  CHECK(contains(error_of<Error>([] { (void)identity_of("no such user", ""); }), "/etc/passwd"));
  CHECK(contains(error_of<Error>([] { (void)identity_of("", "no such group"); }), "/etc/group"));
  CHECK(contains(error_of<Error>([] { (void)identity_of("4294967295", ""); }), "/etc/passwd"));
}

TEST_CASE("process tree: all descendants are found and get a signal") {
  const Tidy tidy;
  Ran ran = run_shell("sleep 1000 & echo up; wait", {});
  await_line(ran);
  CHECK(has_children());
  CHECK(descendants().size() == 2);
  signal_descendants(SIGKILL);
  CHECK(ran.child.reap(Deadline::after(kHang)) == ExitStatus::signalled(SIGKILL));
}

TEST_CASE("process tree: a group gets a signal only while a child of ours is in it") {
  const Tidy tidy;
  ProcessAttributes attributes;
  attributes.new_group = true;
  CHECK_FALSE(signal_group_of_child(1, 0));
  Ran ran = run_shell("echo up; exec sleep 1000", attributes);
  await_line(ran);
  const Pid group = ran.child.pid();
  CHECK(signal_group_of_child(group, SIGKILL));
  CHECK(ran.child.reap(Deadline::after(kHang)) == ExitStatus::signalled(SIGKILL));
  CHECK_FALSE(signal_group_of_child(group, SIGKILL));
}

TEST_CASE("process tree: a session has the processes of all its groups") {
  const Tidy tidy;
  // With -m, each job of the shell gets a group of its own; dash needs a terminal for that.
  Ran ran =
      run_shell("exec bash -c 'set -m; sleep 1000 & echo up; wait 2> /dev/null' 2> /dev/null", {}, true);
  await_line(ran);
  signal_session(ran.child.pid(), SIGKILL);
  // The shell goes on when its job has ended.
  CHECK(ran.child.reap(Deadline::after(kHang)) == ExitStatus::exited(0));
}
