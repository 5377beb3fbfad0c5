#include "client/inspection_document.h"

#include <cmath>

#include "ipcm/error.h"
#include "wire/json_text.h"
#include "wire/printable.h"

namespace ipcm::client {
namespace {

using TimePoint = Inspection::TimePoint;

double to_seconds(TimePoint point) { return std::chrono::duration<double>(point.time_since_epoch()).count(); }

TimePoint from_seconds(double seconds) {
  constexpr double kMost = 1e9 * 9;  // the clock counts nanoseconds in 63 bits
  if (!(std::abs(seconds) < kMost)) throw ProtocolError("a time of an inspection is out of range");
  return TimePoint(std::chrono::duration_cast<TimePoint::duration>(std::chrono::duration<double>(seconds)));
}

std::optional<TimePoint> from_seconds(const std::optional<double>& seconds) {
  return seconds ? std::optional<TimePoint>(from_seconds(*seconds)) : std::nullopt;
}

/// Text for people may quote bytes that are no UTF-8.
Content readable(const std::string& text) {
  return Content::trusted_json(wire::json_string(text, wire::BrokenUtf8::replaced));
}

struct RequestsPart {
  Inspection::Requests& of;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(optional("answered", of.answered), optional("failed", of.failed), optional("open", of.open));
  }
};

struct MessagesPart {
  Inspection::Messages& of;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(optional("received", of.received), optional("sent", of.sent), optional("waiting", of.waiting));
  }
};

struct ProcessPart {
  Inspection::Process of;
  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("name", readable(of.name)), cereal::make_nvp("pid", of.pid));
  }
  void load(JsonReader& archive) { archive(optional("name", of.name), optional("pid", of.pid)); }
};

struct FailurePart {
  Inspection::Failure of;
  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("text", readable(of.text)), cereal::make_nvp("time", to_seconds(of.time)));
  }
  void load(JsonReader& archive) {
    double time = 0;
    archive(optional("text", of.text), optional("time", time));
    of.time = from_seconds(time);
  }
};

std::vector<ProcessPart> parts_of(const std::vector<Inspection::Process>& processes) {
  std::vector<ProcessPart> parts;
  parts.reserve(processes.size());
  for (const auto& process : processes) parts.push_back({process});
  return parts;
}

std::vector<Inspection::Process> processes_of(std::vector<ProcessPart> parts) {
  std::vector<Inspection::Process> processes;
  processes.reserve(parts.size());
  for (ProcessPart& part : parts) processes.push_back(std::move(part.of));
  return processes;
}

struct Document {
  Inspection of;

  void save(JsonWriter& archive) const {
    Inspection facts = of;
    archive(cereal::make_nvp("name", readable(facts.name)),
            cereal::make_nvp("class", readable(facts.class_name)), cereal::make_nvp("pid", facts.pid));
    if (facts.started) archive(cereal::make_nvp("started", to_seconds(*facts.started)));
    if (facts.ready) archive(cereal::make_nvp("ready", to_seconds(*facts.ready)));
    archive(cereal::make_nvp("requests", RequestsPart{facts.requests}),
            cereal::make_nvp("messages", MessagesPart{facts.messages}),
            cereal::make_nvp("parameters", facts.parameters));
    if (!facts.services.empty()) archive(cereal::make_nvp("services", parts_of(facts.services)));
    if (!facts.workers.empty()) archive(cereal::make_nvp("workers", parts_of(facts.workers)));
    if (facts.last_failure) archive(cereal::make_nvp("last_failure", FailurePart{*facts.last_failure}));
  }

  void load(JsonReader& archive) {
    std::optional<double> started, ready;
    std::vector<ProcessPart> services, workers;
    std::optional<FailurePart> failure;
    RequestsPart requests{of.requests};
    MessagesPart messages{of.messages};
    archive(cereal::make_nvp("name", of.name), optional("class", of.class_name),
            cereal::make_nvp("pid", of.pid), optional("started", started), optional("ready", ready),
            optional("requests", requests), optional("messages", messages),
            optional("parameters", of.parameters), optional("services", services),
            optional("workers", workers), optional("last_failure", failure));
    of.started = from_seconds(started);
    of.ready = from_seconds(ready);
    of.services = processes_of(std::move(services));
    of.workers = processes_of(std::move(workers));
    if (failure) of.last_failure = std::move(failure->of);
  }
};

}  // namespace

Content write_inspection(const Inspection& facts) { return Content(Document{facts}); }

Inspection read_inspection(const Content& answer, const std::string& peer) {
  Inspection facts = answer.as<Document>("the inspection of '" + wire::printable_name(peer) + "'").of;
  facts.document = answer;
  return facts;
}

}  // namespace ipcm::client
