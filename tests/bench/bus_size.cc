// Measures a bus with many peers: the cost of one more peer, of the shutdown, and of an idle bus.

#include "bench/ours.h"

using namespace ipcm;
using namespace ipcm::bench;

namespace {

constexpr const char* kQuestion = "bus of many peers";
constexpr double kRatio = 1.2;

std::vector<double> request_times(Handle& handle, int count) {
  const Content content(std::string(64, 'x'));
  std::vector<double> all;
  for (int i = 0; i < count; ++i) {
    const double begin = now_us();
    (void)handle.sync_request(content, std::chrono::seconds(20));
    all.push_back(now_us() - begin);
  }
  return all;
}

/// Compares a bus that grows step by step with a small one, in the same run, because the speed of the machine
/// changes with time.
void many() {
  Guard guard = ipcm_spawn();
  const Guard small_guard = ipcm_spawn();
  ServiceOptions options = echo_options(), small_options = options;
  options.ipcm_info = guard.info();
  small_options.ipcm_info = small_guard.info();
  Handle asked = ipcm_service("asked", options);
  Handle small_asked = ipcm_service("asked", small_options);  // two peers: the service and its handle
  std::vector<Handle> others;
  std::optional<double> start_at_two, memory_at_two;
  for (const int peers : {2, 100, 1000}) {
    constexpr double kEach = 2.5, kRoom = 512;
    const std::string variant = std::to_string(peers) + " peers";
    if (memory_free() < peers * kEach + kRoom) {
      skipped(kQuestion, variant, "not enough free memory");
      continue;
    }
    // The handle of each start is a peer too; release() removes it from the bus.
    Samples starts, small_starts;
    const auto start_one = [&](std::size_t number) {
      others.push_back(ipcm_service("s" + std::to_string(number), options));
      others.back().release();
    };
    while (static_cast<int>(others.size()) + 2 < peers) start_one(others.size());
    for (int i = 0; i < 15; ++i) {
      const double begin = now_us();
      Handle one = ipcm_service("one-more", options);
      starts.add(now_us() - begin);
      end_service(one);
      const double small_begin = now_us();
      Handle other = ipcm_service("one-more", small_options);
      small_starts.add(now_us() - small_begin);
      end_service(other);
    }
    Samples times, small_times;
    for (int round = 0; round < 10; ++round) {
      for (const double time : request_times(small_asked, 50)) small_times.add(time);
      for (const double time : request_times(asked, 50)) times.add(time);
    }
    Figure figure{.question = kQuestion,
                  .variant = variant + ", request",
                  .who = "ours, JSON",
                  .samples = times,
                  .against = "a bus of 2",
                  .floor = small_times.median(),
                  .at_most = kRatio,
                  .curve_x = peers,
                  .curve_label = "peers on the bus"};
    report(figure);
    figure.variant = variant + ", start of one more";
    figure.samples = starts;
    figure.floor = small_starts.median();
    figure.curve_x = {};
    figure.curve_label.clear();
    report(figure);
    figure.variant = variant + ", memory of a peer (PSS)";
    figure.unit = "MiB";
    figure.samples = {};
    figure.samples.add(memory_of(*asked.service_pid()));
    if (!memory_at_two) memory_at_two = figure.samples.median();
    figure.against = "the same at 2";
    figure.floor = memory_at_two;
    report(figure);
  }
  asked.release();
  const double begin = now_us();
  guard.shutdown();
  Samples took;
  took.add((now_us() - begin) / 1000);
  reap_all();
  report({.question = "take-down",
          .variant = std::to_string(others.size() + 1) + " services",
          .who = "ours",
          .unit = "ms",
          .samples = took});
}

void take_down() {
  Samples took;
  for (int round = 0; round < 5; ++round) {
    Guard guard = ipcm_spawn();
    ServiceOptions options = echo_options();
    options.ipcm_info = guard.info();
    for (int i = 0; i < 100; ++i) ipcm_service("s" + std::to_string(i), options).release();
    const double begin = now_us();
    guard.shutdown();
    took.add((now_us() - begin) / 1000);
    reap_all();
  }
  report({.question = "take-down",
          .variant = "100 services",
          .who = "ours",
          .unit = "ms",
          .samples = took,
          .within = 200});
}

void memory() {
  // A million requests take long, so they run only with IPCM_BENCH_LONG.
  const bool is_long = std::getenv("IPCM_BENCH_LONG") != nullptr;
  const int requests = is_long ? 1000000 : 100000;
  const auto handle = start_echo(Placement::one, "JSON");
  (void)request_times(*handle, 1000);
  const double before = memory_of(*handle->service_pid());
  Samples idle;
  idle.add(before);
  report({.question = "idle service",
          .variant = "PSS",
          .who = "ours",
          .unit = "MiB",
          .samples = idle,
          .within = 1.5});
  for (int i = 0; i < requests / 1000; ++i) (void)request_times(*handle, 1000);
  Samples grown;
  grown.add((memory_of(*handle->service_pid()) - before) * 1024);
  report({.question = "idle service",
          .variant = "growth over " + std::to_string(requests) + " requests",
          .who = "ours",
          .unit = "KiB",
          .samples = grown,
          .within = 64});
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"1-many", [](const auto&) { many(); }},
              {"2-take-down", [](const auto&) { take_down(); }},
              {"3-memory", [](const auto&) { memory(); }}},
             {});
}
