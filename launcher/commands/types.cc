// ipcm types: lists the classes of a boot binary.

#include "commands/commands.h"
#include "ipcm/boot_binary.h"
#include "os/busy_program.h"
#include "os/pipe.h"
#include "os/spawn.h"
#include "report.h"
#include "wire/json_text.h"
#include "wire/printable.h"

extern char** environ;

namespace ipcm::launcher {

namespace {

constexpr std::size_t kLongestListing = 16UL * 1024 * 1024;

}  // namespace

int types(const Options& options) {
  os::SpawnRequest ask;
  ask.program = find_boot_binary(options.boot_path());
  ask.args = {ask.program, "--list"};
  if (options.json) ask.args.emplace_back("--json");
  for (char** entry = environ; *entry != nullptr; ++entry) ask.env.emplace_back(*entry);
  os::Pipe output = os::make_pipe();
  constexpr int kStdout = 1;
  ask.fds = {{output.write_end.get(), kStdout}};
  auto made = os::spawn_when_written(ask.program, [&] { return ask; });
  if (const auto* failure = std::get_if<os::SpawnFailure>(&made))
    throw SystemError(failure->error, "execute '" + ask.program + "'");
  output.write_end.reset();
  auto& child = std::get<os::Child>(made);
  const auto limit = os::Deadline::limit(options.limit(std::chrono::seconds(10)));
  const std::string listed = os::read_until_end(output.read_end.get(), limit, "types", kLongestListing);
  output.read_end.reset();  // a child that writes more now fails
  const auto status = child.reap(limit);
  if (!status) throw Timeout("'" + ask.program + " --list' did not end in time, and was killed");
  if (!status->success())
    throw Error("'" + ask.program + " --list' " + status->describe() + ": is it a boot binary?");
  if (!options.json) {
    print_text(wire::printable(listed, kLongestListing, wire::Newlines::kept));
    return number(Status::done);
  }
  wire::check_json(listed, "the output of '" + ask.program + " --list --json'");
  print_json(listed.substr(0, listed.find_last_not_of(" \t\r\n") + 1));
  return number(Status::done);
}

}  // namespace ipcm::launcher
