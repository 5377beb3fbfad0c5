// ipcm logs: prints the stdout and stderr of a service.

#include <sys/epoll.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include "commands/commands.h"
#include "ipcm/service_log.h"
#include "log_follower.h"
#include "loop/loop.h"
#include "os/directory.h"
#include "os/events.h"
#include "os/log_reader.h"
#include "os/stream.h"
#include "report.h"
#include "wire/json_text.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

/// Returns the line for a terminal: escapes control characters other than tabs.
std::string shown(std::string_view line) {
  std::string text;
  for (std::size_t at = 0; at <= line.size();) {
    const std::size_t tab = std::min(line.find('\t', at), line.size());
    text.append(at == 0 ? "" : "\t").append(wire::printable(line.substr(at, tab - at)));
    at = tab + 1;
  }
  return text;
}

/// A printer of lines that waits until a line is complete.
class Lines {
 public:
  explicit Lines(const Options& options) : options_(options), to_terminal_(os::is_terminal(1)) {}
  void print(const std::string& text) {
    rest_.append(text);
    for (std::size_t end = 0; (end = rest_.find('\n')) != std::string::npos; rest_.erase(0, end + 1))
      print_one(rest_.substr(0, end));
  }
  /// Prints a last line without a newline too.
  void finish() {
    if (!rest_.empty()) print_one(rest_);
    rest_.clear();
    flush_output();
  }

 private:
  void print_one(const std::string& line) const {
    print_line(options_.json  ? wire::json_string(line, wire::BrokenUtf8::replaced)
               : to_terminal_ ? shown(line)
                              : line);
  }
  const Options& options_;
  bool to_terminal_;
  std::string rest_;
};

/// Returns the last `count` lines of a text.
std::string last_lines(std::string text, std::size_t count) {
  if (count == 0) return {};
  std::size_t at = text.size();
  if (text.ends_with('\n')) --at;
  for (std::size_t found = 0; found < count; ++found) {
    const auto before = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
    if (before == std::string::npos) return text;
    at = before;
  }
  return text.substr(at + 1);
}

void follow(os::LogReader& log, Lines& lines) {
  os::FileWatch watch(log.path(), os::FileWatch::Of::writing);
  Loop loop;
  bool changed = true;  // the log may have grown before the watch began
  const Watch changes = loop.watch(watch.fd(), EPOLLIN, [&](std::uint32_t) { changed |= watch.read(); });
  for (;;) {
    loop.run_until([&] { return changed; }, os::Deadline::never());
    changed = false;
    const bool removed = log.was_removed();  // before the read, so that the read gets all that was written
    lines.print(log.read_new());
    flush_output();
    if (removed) return;
  }
}

}  // namespace

int logs(const Options& options) {
  const BusInfo info = options.bus_info();
  const bool is_on_server = !info.route.starts_with('/');  // its logs are on this machine, not on the server
  if (!is_on_server) (void)visit(options);                 // throws if there is no bus
  os::LogReader log(service_log_path(info, options.name));
  if (!log.open()) {
    if (is_on_server) (void)visit(options);
    throw PeerGone(options.name, "there is no log of '" + options.name + "' on the bus " + info.route +
                                     ": a service has one if `ipcm start` has started it, unless both of its "
                                     "streams are redirected");
  }
  Lines lines(options);
  std::string text = log.read_all();
  if (options.lines) text = last_lines(std::move(text), *options.lines);
  lines.print(text);
  if (options.follow) {
    flush_output();
    follow(log, lines);
  }
  lines.finish();
  return number(Status::done);
}

}  // namespace ipcm::launcher
