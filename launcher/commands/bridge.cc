// ipcm bridge: puts a program of any language on a bus (docs/bridge.md). This file makes the bridge and its
// place on the bus: as a client with a loop of its own, or as a service.

#include <sys/epoll.h>

#include <array>
#include <charconv>
#include <csignal>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "bridge/bridge.h"
#include "bridge/client_side.h"
#include "bridge/service_side.h"
#include "commands/commands.h"
#include "os/descriptor.h"
#include "os/stream.h"

namespace ipcm::launcher {
namespace {

/// Takes the descriptors of the conversation. stdin and stdout then lead to /dev/null: the boot contract
/// redirects them, and nothing else may write between the lines.
Channel take_channel(const std::string& pair) {
  if (pair.empty()) {
    os::UniqueFd in = os::duplicate(0);
    os::UniqueFd out = os::duplicate(1);
    os::replace_standard_stream(os::open_stream("/dev/null", os::StreamUse::read).get(), 0);
    os::replace_standard_stream(os::open_stream("/dev/null", os::StreamUse::append).get(), 1);
    return {std::move(in), std::move(out)};
  }
  std::array<int, 2> numbers{-1, -1};
  const char* at = pair.data();
  const char* const end = pair.data() + pair.size();
  for (int& number : numbers) {
    const auto read = std::from_chars(at, end, number);
    const bool is_last = &number == &numbers.back();
    if (read.ec != std::errc() || number < 3 ||
        !(is_last ? read.ptr == end : read.ptr != end && *read.ptr == ','))
      throw UsageError("--fds wants two numbers of 3 or above, such as 3,4; found '" + pair + "'");
    if (!os::set_close_on_exec(number))
      throw UsageError("--fds: descriptor " + std::to_string(number) + " is not open");
    at = read.ptr + 1;
  }
  if (numbers[0] == numbers[1]) {
    os::UniqueFd both(numbers[0]);
    os::UniqueFd out = os::duplicate(numbers[0]);
    return {std::move(both), std::move(out)};
  }
  return {os::UniqueFd(numbers[0]), os::UniqueFd(numbers[1])};
}

}  // namespace

int bridge(const Options& options) {
  if (options.serve && (!options.as.empty() || options.reconnect))
    throw UsageError("a service has --name, and not --as or --reconnect");
  if (!options.serve && (!options.name.empty() || !options.words.empty()))
    throw UsageError("--name and boot arguments are for --serve; a client has --as");
  if (!options.words.empty() && !options.name.empty())
    throw UsageError("either --name, or boot arguments, which have the name");
  if (options.serve && options.name.empty() && options.words.empty())
    throw UsageError("--serve needs the boot arguments after --, or --name NAME");
  Channel channel = take_channel(options.fds);
  if (options.tells_lengths) channel.tell_lengths();
  if (!options.serve) {
    return ClientSide(std::move(channel), options.bus_info(), options.as, options.limit(kNoLimit))
        .run(options.reconnect);
  }
  ServiceSide side(std::move(channel), options.limit(kNoLimit));
  if (!options.words.empty()) return side.boot(options.words);
  return side.run(options.name, options.bus_info());
}

}  // namespace ipcm::launcher
