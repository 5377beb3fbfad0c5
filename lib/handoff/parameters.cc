#include <cereal/types/vector.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <limits>

#include "handoff/handoff.h"
#include "ipcm/error.h"
#include "wire/json_text.h"

namespace ipcm::handoff {
namespace {

// The JSON document as types for cereal. A key with the default value is not written.

struct ExecPart {
  bool stay_in_begin = false;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(optional("stay_in_begin", stay_in_begin));
  }
};

struct RedirectPart {
  Redirect value;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(optional("stdin", value.in), optional("stdout", value.out), optional("stderr", value.err),
            optional("inherited", value.inherited));
  }
};

double to_seconds(Duration span) { return std::chrono::duration<double>(span).count(); }

Duration from_seconds(const char* key, double seconds, double most, const char* expected) {
  if (!(seconds > 0) || seconds > most) {
    std::array<char, 32> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), seconds).ptr;
    throw ProtocolError(std::string("parameters: '") + key + "': expected " + expected + ", found " +
                        std::string(text.data(), end));
  }
  if (seconds >= to_seconds(Duration::max())) return Duration::max();
  return std::max(std::chrono::round<Duration>(std::chrono::duration<double>(seconds)), Duration(1));
}

struct Document {
  Parameters& p;

  void save(JsonWriter& archive) const {
    int version = kContractVersion;
    archive(cereal::make_nvp("ipcm", version), cereal::make_nvp("name", p.name),
            cereal::make_nvp("class", p.class_name));
    archive.name_next("ipcm_info");
    archive.raw(p.info.text());
    if (!p.watch_pids.empty()) archive(cereal::make_nvp("watch_pids", p.watch_pids));
    if (p.interval) archive(cereal::make_nvp("interval", to_seconds(*p.interval)));
    if (p.spin > Duration::zero()) archive(cereal::make_nvp("spin", to_seconds(p.spin)));
    if (p.intercept_errors) archive(cereal::make_nvp("intercept_errors", p.intercept_errors));
    if (p.expose_error_details) archive(cereal::make_nvp("expose_error_details", p.expose_error_details));
    if (p.secret) archive(cereal::make_nvp("secret", p.secret));
    if (p.redirect != Redirect{}) archive(cereal::make_nvp("redirect", RedirectPart{p.redirect}));
    if (p.stay_in_begin) archive(cereal::make_nvp("exec", ExecPart{p.stay_in_begin}));
    if (!p.args.is_null()) archive(cereal::make_nvp("args", p.args));
  }

  void load(JsonReader& archive) {
    int version = 0;
    archive(cereal::make_nvp("ipcm", version));
    if (version != kContractVersion)
      throw ProtocolError("parameters: 'ipcm': this binary speaks version " +
                          std::to_string(kContractVersion) + " of the boot contract, not " +
                          std::to_string(version) + "; launcher and boot binary are of different releases");
    archive(cereal::make_nvp("name", p.name), cereal::make_nvp("class", p.class_name));
    Content info;
    archive(cereal::make_nvp("ipcm_info", info));
    try {  // an array, or its text form in a string
      p.info = BusInfo::parse(info.json().starts_with('"') ? info.as<std::string>() : info.json());
    } catch (const ProtocolError& error) {
      throw ProtocolError(std::string("parameters: 'ipcm_info': ") + error.what());
    }
    archive(optional("watch_pids", p.watch_pids));
    std::optional<double> interval;
    archive(optional("interval", interval));
    if (interval)
      p.interval =
          from_seconds("interval", *interval, std::numeric_limits<double>::max(), "seconds, more than 0");
    std::optional<double> spin;
    archive(optional("spin", spin));
    if (spin) p.spin = from_seconds("spin", *spin, 1, "seconds, more than 0 and at most one");
    archive(optional("intercept_errors", p.intercept_errors),
            optional("expose_error_details", p.expose_error_details), optional("secret", p.secret));
    RedirectPart redirect;
    archive(optional("redirect", redirect));
    p.redirect = redirect.value;
    ExecPart exec;
    archive(optional("exec", exec));
    p.stay_in_begin = exec.stay_in_begin;
    archive(optional("args", p.args));
  }
};

}  // namespace

std::string write_parameters(const Parameters& parameters) {
  Parameters copy = parameters;
  JsonWriter writer;
  writer(Document{copy});
  return writer.take();
}

Parameters read_parameters(std::string_view json) {
  Parameters parameters;
  Document document{parameters};
  JsonReader reader(json, "parameters", JsonReader::UnknownKeys::refused);
  reader(document);
  if (parameters.name.empty()) throw ProtocolError("parameters: 'name' is empty");
  if (parameters.class_name.empty()) throw ProtocolError("parameters: 'class' is empty");
  for (const Pid pid : parameters.watch_pids)
    if (pid <= 0)
      throw ProtocolError("parameters: 'watch_pids': " + std::to_string(pid) + " is no process id");
  return parameters;
}

}  // namespace ipcm::handoff
