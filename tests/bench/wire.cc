// The cost of writing and reading a message, without sending it.

#include "bench/bench.h"
#include "wire/json_check.h"
#include "wire/parsed_content.h"
#include "wire/serializer.h"

using namespace ipcm;
using namespace ipcm::bench;

namespace {

/// Returns a racer that runs `once` several times: one run is shorter than the resolution of the clock.
Racer repeated(const std::string& who, int times, std::function<void()> once,
               std::optional<double> at_most = {}) {
  return {who,
          [times, once = std::move(once)] {
            for (int i = 0; i < times; ++i) once();
          },
          at_most};
}

void report_each(std::vector<Racer>& racers, int times, const Figure& common) {
  race(racers, 10, 5);
  std::optional<double> floor;
  for (const Racer& racer : racers) {
    Figure figure = common;
    figure.who = racer.who;
    figure.samples.add(racer.samples.median() / times);
    figure.at_most = racer.at_most;
    if (floor) {
      figure.against = racers.front().who;
      figure.floor = floor;
    } else {
      floor = figure.samples.median();
    }
    report(figure);
  }
}

void coding() {
  std::string structured = "[";
  while (structured.size() < 65000)
    structured += R"({"name":"some words","count":17,"parts":[1.5,true,null]},)";
  structured.back() = ']';
  struct Case {
    const char* what;
    Content payload;
    int times;
  };
  const Case cases[] = {{"64 B string", Content(std::string(64, 'x')), 500},
                        {"64 KiB string", Content(std::string(64UL * 1024, 'x')), 20},
                        {"64 KiB of objects", Content::json(structured), 5}};
  for (const Case& one : cases) {
    const Message message{"01A2050B-EF33-7769-9AB2-B6C36F6D7024",
                          "service_parent_15745",
                          "svc",
                          1795380997.93995,
                          0,
                          false,
                          wire::request_content("01A2050B-EF33-7C54-B7BE-570FED48A938", one.payload)};
    std::vector<Racer> racers;
    for (const std::string& name : wire::known_serializers()) {
      const auto serializer = wire::make_serializer({"ConnectionUnix", name, "/", {}, {}});
      racers.push_back(repeated(
          name, one.times,
          [serializer, &message] { (void)serializer->read(serializer->write(message), "svc"); },
          name == "Cereal" ? std::optional<double>(1) : std::nullopt));
    }
    report_each(racers, one.times, {.question = "write and read a message", .variant = one.what});
    std::vector<Racer> parts;
    const auto json = wire::make_serializer({"ConnectionUnix", "JSON", "/", {}, {}});
    const auto cereal = wire::make_serializer({"ConnectionUnix", "Cereal", "/", {}, {}});
    const std::string as_json = json->write(message), as_cereal = cereal->write(message);
    parts.push_back(repeated("JSON, write", one.times, [&] { (void)json->write(message); }));
    parts.push_back(repeated("JSON, read", one.times, [&] { (void)json->read(as_json, "svc"); }));
    parts.push_back(repeated("Cereal, write", one.times, [&] { (void)cereal->write(message); }));
    parts.push_back(repeated("Cereal, read", one.times, [&] { (void)cereal->read(as_cereal, "svc"); }));
    parts.push_back(
        repeated("understand a request", one.times, [&] { (void)wire::classify(message.content); }));
    parts.push_back(repeated("check the JSON text", one.times,
                             [&] { (void)wire::is_ascii_json(message.content.json()); }));
    report_each(parts, one.times, {.question = "parts of it", .variant = one.what});
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv, {{"coding", [](const auto&) { coding(); }}}, {});
}
