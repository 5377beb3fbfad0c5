#include "ipcm/boot.h"

#include <cereal/types/vector.hpp>

#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <string>
#include <vector>

#include "dynamic_fallback.h"
#include "handoff/handoff.h"
#include "ipcm/error.h"
#include "os/descriptor.h"
#include "os/directory.h"
#include "os/pipe.h"
#include "os/signals.h"
#include "os/stream.h"
#include "ready/ready.h"
#include "service/credentials.h"
#include "service/diagnostic.h"
#include "service/serve.h"
#include "wire/nearest.h"
#include "wire/printable.h"

namespace ipcm {
namespace {

using service::Exit;

constexpr const char* kUsage =
    R"(usage: ipcm-boot [--ready-fd N] [--params-fd M | PARAMS]
       ipcm-boot --list [--json]

Becomes the service that PARAMS describes. PARAMS is a JSON object with these keys:
  ipcm       1, the version of this contract
  name       the name of the service on the bus
  class      the class of the service; --list prints the classes of this binary
  ipcm_info  the bus: ["PROTOCOL","SERIALIZER","ROUTE"]
  args       the parameters of the class (optional)
Other optional keys: watch_pids, interval, spin, intercept_errors, expose_error_details, secret, redirect, exec.
When the service is ready, it writes one line on descriptor N: {"ready":true,"name":"…","pid":123}

Usually `ipcm start` or ipcm_service() runs this program. By hand, on a bus made with `ipcm bus new`:
  ipcm-boot '{"ipcm":1,"name":"e","class":"echo","ipcm_info":'"$IPCM_INFO"'}'

Exit status: the service's own; 64 bad parameters; 69 the bus is unavailable, or the name is taken; 70 the
service threw; 71 a system error; 74 the output of --list or --help could not be written; 127 unknown class.
)";

int status_of(Exit exit) { return static_cast<int>(exit); }

std::vector<std::string> class_names(const Registry& registry) {
  std::vector<std::string> names;
  for (const auto& entry : registry.entries()) names.push_back(entry.first);
  return names;
}

/// A parameter of a class in the output of `--list --json`.
struct ListedField {
  FieldDescription field;

  explicit ListedField(const FieldDescription& given) : field(given) {}
  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("name", field.name), cereal::make_nvp("type", field.type),
            cereal::make_nvp("required", field.required));
    if (!field.required) archive(cereal::make_nvp("default", Content::json(field.default_value)));
  }
};

/// A class in the output of `--list --json`.
struct ListedClass {
  std::string name;
  Registry::Entry entry;

  void save(JsonWriter& archive) const {
    const std::vector<FieldDescription> fields = entry.args();
    archive(cereal::make_nvp("name", name), cereal::make_nvp("description", entry.description),
            cereal::make_nvp("args", std::vector<ListedField>(fields.begin(), fields.end())));
  }
};

struct Listing {
  const Registry& registry;

  [[nodiscard]] std::string as_json() const {
    std::vector<ListedClass> classes;
    for (const auto& [name, entry] : registry.entries()) classes.push_back({name, entry});
    JsonWriter writer;
    writer(classes);
    return writer.take() + "\n";
  }

  [[nodiscard]] std::string as_text() const {
    std::string text;
    for (const auto& [name, entry] : registry.entries()) {
      text.append(name).append("  ").append(entry.description).push_back('\n');
      for (const FieldDescription& field : entry.args())
        text.append("    ")
            .append(field.name)
            .append(": ")
            .append(field.type)
            .append(field.required ? ", required\n" : ", default " + field.default_value + "\n");
    }
    return text;
  }
};

/// Redirects the standard streams that the parameters name: for launchers that have not done it themselves.
void redirect(const Redirect& redirect, handoff::OriginalStreams& original) {
  const std::string* const wanted[] = {&redirect.in, &redirect.out, &redirect.err};
  for (std::size_t i = 0; i < std::size(wanted); ++i) {
    if (wanted[i]->empty()) continue;
    const int stream = static_cast<int>(i);
    const auto opened =
        os::open_stream(*wanted[i], stream == 0 ? os::StreamUse::read : os::StreamUse::append);
    if (!original.at(i) && os::is_open(stream)) original.at(i) = os::duplicate(stream, 3);
    os::replace_standard_stream(opened.get(), stream);
  }
}

/// Reports an error to the user, on stderr.
void tell(const std::string& words) noexcept { service::tell("ipcm-boot", words); }

/// Writes the text to stdout. Returns 0, or the exit status for lost output.
int print(const std::string& text) {
  try {
    os::write_all(1, text, "stdout");
    return 0;
  } catch (const SystemError& error) {
    // A reader that has closed the pipe needs no message.
    if (error.code() != EPIPE) tell(error.what());
    return status_of(Exit::output_lost);
  }
}

/// Returns the usage text with the name by which the program was called.
std::string usage_of(const std::string& program) {
  constexpr std::string_view kName = "ipcm-boot";
  std::string text = kUsage;
  for (std::size_t at = 0; (at = text.find(kName, at)) != std::string::npos; at += program.size())
    text.replace(at, kName.size(), program);
  return text;
}

int complain(ready::Announcer& announcer, Exit status, const std::string& words) {
  announcer.failed(words);
  tell(words);
  return status_of(status);
}

/// Returns whether a launcher may have written this command line: for programs that have other command lines.
bool is_boot_command_line(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word.starts_with("--ready-fd") || word.starts_with("--params-fd")) return true;
  }
  return argc == 2 && std::string_view(argv[1]).starts_with('{');
}

}  // namespace

/// A process that becomes a service, before the service is made: its descriptors and parsed parameters.
struct BootResult::State {
  const Registry& registry;
  handoff::Inherited inherited;
  ready::Announcer announcer;
  handoff::Parameters parameters;
  const Registry::Entry* entry = nullptr;

  explicit State(const Registry& classes) : registry(classes) {}

  /// Reads the parameters and finds the class. Returns the exit status if that fails.
  std::optional<int> prepare(const handoff::CommandLine& line, const char* called_as) {
    try {
      const auto environment = dynamic_fallback::keep_environment();
      inherited = handoff::take_inherited(line);
      announcer = ready::Announcer(std::move(inherited.ready), std::move(inherited.real_stderr),
                                   {std::move(inherited.log), inherited.log_out, inherited.log_err});
      const std::string text = handoff::take_parameters(line, inherited.leash);
      parameters = handoff::read_parameters(text);
      if (dynamic_fallback::is_needed(parameters.info))
        return complain(announcer, Exit::bus_unavailable,
                        dynamic_fallback::become(line, text, parameters.info, announcer, inherited,
                                                 environment, called_as));
      entry = registry.find(parameters.class_name);
      if (entry == nullptr)
        return complain(announcer, Exit::unknown_class,
                        "unknown class '" + wire::printable_name(parameters.class_name) + "'" +
                            wire::did_you_mean(parameters.class_name, class_names(registry)) +
                            "; this binary has: " + registry.names());
      redirect(parameters.redirect, inherited.original);
      return std::nullopt;
    } catch (const SystemError& error) {
      return complain(announcer, Exit::system_error, error.what());
    } catch (const Error& error) {
      return complain(announcer, Exit::usage, error.what());
    }
  }

  int serve() {
    auto setup = std::make_unique<service::Setup>();
    const Content args = parameters.args;
    setup->parameters = std::move(parameters);
    service::take_credentials(setup->parameters.info);
    setup->leash = std::move(inherited.leash);
    setup->original = std::move(inherited.original);
    setup->registry = &registry;
    return service::serve(ServiceSetup(std::move(setup)), std::move(announcer),
                          [&](ServiceSetup given) { return entry->make(std::move(given), args); });
  }
};

BootResult::BootResult(BootResult&&) noexcept = default;
BootResult& BootResult::operator=(BootResult&&) noexcept = default;
BootResult::~BootResult() = default;

int BootResult::run() {
  if (!state_)
    throw UsageError(
        "there is no service to run: the process was not started as one, or the service has "
        "already been served");
  const auto state = std::move(state_);
  status_ = state->serve();
  return *status_;
}

BootResult begin(int argc, char** argv, const Registry& registry, const BeginOptions& options) {
  BootResult begun;
  if (!is_boot_command_line(argc, argv)) return begun;
  os::take_charge_of_signals();
  auto state = std::make_unique<BootResult::State>(registry);
  try {
    if (const auto status = state->prepare(handoff::read_command_line(argc, argv), argv[0]))
      std::exit(*status);
  } catch (const UsageError& error) {
    tell(error.what());
    std::exit(status_of(Exit::usage));
  }
  const bool here = state->parameters.stay_in_begin;
  begun.state_ = std::move(state);
  if (!here) return begun;
  const int status = begun.run();
  if (!options.run_returns_to_caller) std::exit(status);
  return begun;
}

namespace {

int boot_now(const handoff::CommandLine& line, const Registry& registry, const char* called_as) {
  BootResult::State state(registry);
  if (const auto status = state.prepare(line, called_as)) return *status;
  return state.serve();
}

}  // namespace

int boot(int argc, char** argv, const Registry& registry) {
  os::take_charge_of_signals();
  using Action = handoff::CommandLine::Action;
  try {
    const handoff::CommandLine line = handoff::read_command_line(argc, argv);
    switch (line.action) {
      case Action::boot:
        return boot_now(line, registry, argc > 0 ? argv[0] : "ipcm-boot");
      case Action::help:
        return print(usage_of(argv[0]));
      case Action::list:
        return print(Listing{registry}.as_text());
      case Action::list_json:
        return print(Listing{registry}.as_json());
    }
    return 0;
  } catch (const UsageError& error) {
    tell(std::string(error.what()) + "; try: " + (argc > 0 ? argv[0] : "ipcm-boot") + " --help");
    return status_of(Exit::usage);
  } catch (const std::exception& error) {
    tell(error.what());
    return status_of(Exit::system_error);
  }
}

}  // namespace ipcm
