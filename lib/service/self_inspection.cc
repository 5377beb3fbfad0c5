#include "service/self_inspection.h"

#include <cereal/types/vector.hpp>
#include <numeric>

#include "ipcm/error.h"
#include "os/process.h"

namespace ipcm::service {
namespace {

/// The parameters of a service as JSON, without those that have their default values.
struct ShownParameters {
  const handoff::Parameters& of;

  void save(JsonWriter& archive) const {
    constexpr std::size_t kLargestArgs = 64UL * 1024;
    const auto seconds = [](Duration span) { return std::chrono::duration<double>(span).count(); };
    archive.be_object();
    if (!of.watch_pids.empty()) archive(cereal::make_nvp("watch_pids", of.watch_pids));
    if (of.interval) archive(cereal::make_nvp("interval", seconds(*of.interval)));
    if (of.spin > Duration::zero()) archive(cereal::make_nvp("spin", seconds(of.spin)));
    if (of.intercept_errors) archive(cereal::make_nvp("intercept_errors", of.intercept_errors));
    if (of.expose_error_details) archive(cereal::make_nvp("expose_error_details", of.expose_error_details));
    if (of.args.is_null()) return;
    if (of.args.is_bytes() || of.args.size() > kLargestArgs)
      archive(cereal::make_nvp("args_bytes", of.args.size()));
    else
      archive(cereal::make_nvp("args", of.args));
  }
};

std::uint64_t sum_of(const std::map<std::string, std::uint64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const auto& entry) { return sum + entry.second; });
}

}  // namespace

Content shown_parameters(const handoff::Parameters& parameters) {
  return parameters.secret ? Content() : Content(ShownParameters{parameters});
}

Inspection describe_self(const handoff::Parameters& parameters, const ServiceRecord& record,
                         bus::Member& member) {
  using TimePoint = Inspection::TimePoint;
  Inspection facts;
  facts.name = parameters.name;
  facts.class_name = parameters.class_name;
  facts.pid = os::own_pid();
  try {
    if (const auto started = os::start_time(facts.pid))
      facts.started =
          TimePoint(std::chrono::duration_cast<TimePoint::duration>(std::chrono::duration<double>(*started)));
  } catch (const Error&) {
    // No descriptor is left to look.
  }
  facts.ready = record.ready;
  facts.requests = {record.answered, record.failed, record.open()};
  const Statistics& counts = member.counts().total();
  facts.messages.received = sum_of(counts.read);
  facts.messages.sent = sum_of(counts.sent);
  facts.parameters = shown_parameters(parameters);
  facts.last_failure = record.last_failure;
  return facts;
}

}  // namespace ipcm::service
