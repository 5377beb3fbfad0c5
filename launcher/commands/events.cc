// ipcm events: prints what happens to the peers of a bus, a line each.

#include <sys/epoll.h>

#include <csignal>

#include "commands/commands.h"
#include "ipcm/peer_events.h"
#include "loop/loop.h"
#include "os/signals.h"
#include "report.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

/// An event as a line of JSON. `time`: when it was noticed, in Unix seconds.
struct EventLine {
  const PeerEvent& event;
  double time;

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("event", std::string(to_string(event.kind))),
            cereal::make_nvp("name", foreign_text(event.name)), cereal::make_nvp("time", time));
    if (!event.class_name.empty()) archive(cereal::make_nvp("class", foreign_text(event.class_name)));
    if (event.pid) archive(cereal::make_nvp("pid", *event.pid));
    const bool is_over = event.kind == PeerEvent::Kind::left || event.kind == PeerEvent::Kind::died;
    if (!is_over) return;
    archive(cereal::make_nvp("ended", event.has_ended));
    if (event.status) {
      const bool exited = event.status->how == ExitStatus::How::exited;
      archive(cereal::make_nvp(exited ? "status" : "signal", event.status->value));
    }
    if (!event.last_words.empty()) archive(cereal::make_nvp("last_words", foreign_text(event.last_words)));
  }
};

std::string sentence_of(const PeerEvent& event) {
  std::string text = "'" + wire::printable_name(event.name) + "' " +
                     (event.kind == PeerEvent::Kind::ready ? "is ready" : to_string(event.kind));
  const bool is_over = event.kind == PeerEvent::Kind::left || event.kind == PeerEvent::Kind::died;
  if (is_over) {
    if (event.has_ended) text += ": " + event.description;
    if (!event.last_words.empty()) text += "; its last words: " + event.last_words;
    return text;
  }
  if (!event.class_name.empty()) text += ", class " + wire::printable_name(event.class_name);
  if (event.pid) text += ", process " + std::to_string(*event.pid);
  return text;
}

void print(const Options& options, const PeerEvent& event) {
  if (options.json)
    print_json(json_of(EventLine{event, os::wall_clock_seconds()}));
  else
    print_line(sentence_of(event));
  flush_output();
}

}  // namespace

int events(const Options& options) {
  os::SignalReader signals(os::heeded({SIGINT, SIGTERM}));
  Client client = visit(options);
  PeerEvents events(client);
  tell(options, "watches the bus " + client.info().text());
  Loop loop;
  bool is_told_to_end = false, is_late = false, has_news = false;
  std::size_t printed = 0;
  const auto is_complete = [&] { return options.count && printed >= *options.count; };
  const Watch signals_watch = loop.watch(signals.fd(), EPOLLIN, [&](std::uint32_t) {
    while (signals.next()) is_told_to_end = true;
  });
  const Watch news = loop.watch(client.fd(), EPOLLIN, [&](std::uint32_t) { has_news = true; });
  Watch limit;
  if (options.timeout && *options.timeout != kNoLimit)
    limit = loop.at(os::from_now(*options.timeout), [&] { is_late = true; });
  while (!is_complete() && !is_told_to_end && !is_late) {
    (void)loop.turn(os::Deadline::never());
    if (!std::exchange(has_news, false)) continue;
    std::vector<PeerEvent> all;
    try {
      all = events.take();
    } catch (const BusError&) {
      break;  // the bus was removed
    }
    for (const PeerEvent& event : all) {
      if (is_complete()) break;
      print(options, event);
      ++printed;
    }
  }
  if (is_late && options.count && !is_complete())
    throw Timeout("saw " + std::to_string(printed) + " of " + std::to_string(*options.count) + " events");
  return number(Status::done);
}

}  // namespace ipcm::launcher
