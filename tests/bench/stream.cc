// Measures how many one-way messages a second arrive and are decoded.

#include <algorithm>

#include "bench/ours.h"
#include "bench/peers.h"
#include "bench/sockets.h"

using namespace ipcm;
using namespace ipcm::bench;

namespace {

constexpr std::size_t kSize = 64;
constexpr int kRounds = 3;

/// Returns the messages a second, from the first to the last one received.
double rate(std::size_t count, double begin) { return static_cast<double>(count) / (now_us() - begin) * 1e6; }

enum class Sending { each, batch };

double by_ours(const std::string& serializer, Placement placement, Sending sending, std::size_t count) {
  SpawnOptions options;
  options.serializer = serializer;
  const Guard guard = ipcm_spawn(options);
  Client sink = ipcm_connect("sink", guard.info());
  Process source(
      {"source", guard.info().text(), std::to_string(count), sending == Sending::batch ? "batch" : "each"},
      placement, Side::answers);
  pin(placement, Side::asks);
  source.start();
  std::size_t got = sink.wait_for_messages(std::chrono::seconds(20)).size();
  const double begin = now_us();
  const std::size_t first = got;
  while (got < count) got += sink.wait_for_messages(std::chrono::seconds(20)).size();
  const double per_second = rate(count - first, begin);
  source.wait();
  return per_second;
}

void source_ours(const std::string& info, std::size_t count, bool batched) {
  Client client = ipcm_connect("source", info);
  ready();
  await_start();
  const Content content(std::string(kSize, 'x'));
  if (batched) {
    const Batch batch = client.batch();
    for (std::size_t i = 0; i < count; ++i) client.send_message("sink", content);
  } else {
    for (std::size_t i = 0; i < count; ++i) client.send_message("sink", content);
  }
  client.disconnect();
}

/// The floor: each write has 64 bytes, and each read up to 1024 messages.
double by_floor(Placement placement, std::size_t count) {
  const Directory directory;
  const auto listener = listen_at(directory.file("sink"));
  Process source({"floor", directory.file("sink"), std::to_string(count)}, placement, Side::answers);
  pin(placement, Side::asks);
  const auto socket = accept_at(listener.get());
  source.start();
  std::vector<char> bytes(kSize * 1024);
  (void)read_whole(socket.get(), bytes.data(), kSize);
  const double begin = now_us();
  for (std::size_t left = count - 1; left > 0;) {
    const std::size_t now = std::min<std::size_t>(left, 1024);
    (void)read_whole(socket.get(), bytes.data(), now * kSize);
    left -= now;
  }
  const double per_second = rate(count - 1, begin);
  source.wait();
  return per_second;
}

#ifdef BENCH_HAS_ZEROMQ
double by_zeromq(Placement placement, std::size_t count) {
  const Directory directory;
  pin(placement, Side::asks);
  const auto pull = zeromq_pull(directory.file("sink"));
  Process source({"zeromq", directory.file("sink"), std::to_string(count)}, placement, Side::answers);
  source.start();
  pull();
  const double begin = now_us();
  for (std::size_t i = 1; i < count; ++i) pull();
  const double per_second = rate(count - 1, begin);
  source.wait();
  return per_second;
}
#endif

void one_way() {
  constexpr std::size_t kEach = 60000, kMany = 600000;
  const Placement placement = Placement::anywhere;
  Samples floor, json, cereal, json_each, cereal_each, theirs;
  for (int round = 0; round < kRounds; ++round) {
    floor.add(by_floor(placement, kMany));
#ifdef BENCH_HAS_ZEROMQ
    theirs.add(by_zeromq(placement, kMany));
#endif
    json.add(by_ours("JSON", placement, Sending::batch, kMany));
    cereal.add(by_ours("Cereal", placement, Sending::batch, kMany));
    json_each.add(by_ours("JSON", placement, Sending::each, kEach));
    cereal_each.add(by_ours("Cereal", placement, Sending::each, kEach));
  }
  const Figure common{.question = "one-way messages", .variant = "64 B, free", .unit = "/s"};
  const auto tell = [&](const char* who, const Samples& samples, std::optional<double> at_least) {
    Figure figure = common;
    figure.who = who;
    figure.samples = samples;
    if (at_least && theirs.size() > 0) {
      figure.against = "ZeroMQ PUSH/PULL";
      figure.floor = theirs.median();
      figure.at_least = at_least;
    }
    report(figure);
  };
  tell("floor: one write a message", floor, {});
  if (theirs.size() > 0)
    tell("ZeroMQ PUSH/PULL", theirs, {});
  else
    skipped("one-way messages", "64 B, free", "ZeroMQ was not found");
  tell("ours, JSON, in a batch", json, 0.3);
  tell("ours, Cereal, in a batch", cereal, 1);
  tell("ours, JSON, each by itself", json_each, {});
  tell("ours, Cereal, each by itself", cereal_each, {});
}

}  // namespace

int main(int argc, char** argv) {
  return run(
      argc, argv, {{"one-way", [](const auto&) { one_way(); }}},
      {
          {"source",
           [](const auto& words) {
             source_ours(words.at(0), std::stoul(words.at(1)), words.at(2) == "batch");
           }},
          {"floor",
           [](const auto& words) {
             const auto socket = connect_at(words.at(0));
             ready();
             await_start();
             const std::string bytes(kSize, 'x');
             for (std::size_t i = std::stoul(words.at(1)); i > 0; --i)
               write_whole(socket.get(), bytes.data(), bytes.size());
           }},
#ifdef BENCH_HAS_ZEROMQ
          {"zeromq", [](const auto& words) { zeromq_push(words.at(0), std::stoul(words.at(1)), kSize); }},
#endif
      });
}
