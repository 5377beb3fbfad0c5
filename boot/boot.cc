#include "ipcm/boot.h"

#include <cstdio>
#include <string>

#include "handoff/handoff.h"
#include "ipcm/error.h"
#include "os/directory.h"
#include "os/pipe.h"
#include "os/signals.h"
#include "ready/ready.h"
#include "service/serve.h"
#include "twin.h"

namespace ipcm {
namespace {

using service::Exit;

constexpr const char* kUsage =
    R"(usage: %s [--ready-fd N] [--params-fd M | PARAMS]
       %s --list [--json]

Becomes the service that PARAMS describe, a JSON object:
  ipcm       1, the version of this contract
  name       the service's name on the bus
  class      what it is; --list shows the classes that this binary has
  ipcm_info  the bus: ["PROTOCOL","SERIALIZER","ROUTE"]
  args       the class's own parameters; others are optional too: watch_pids, interval, intercept_errors,
             expose_error_details, redirect, exec
Once it serves, it writes one line on descriptor N: {"ready":true,"name":"…","pid":123}

Normally `ipcm start` or ipcm_service() run this. By hand, on a bus made with `ipcm bus new`:
  %s '{"ipcm":1,"name":"e","class":"echo","ipcm_info":'"$IPCM_INFO"'}'
)";

int status_of(Exit exit) { return static_cast<int>(exit); }

struct Listing {
  const Registry& registry;

  [[nodiscard]] std::string as_json() const {
    JsonWriter writer;
    writer.open();
    writer.be_array();
    for (const auto& [name, entry] : registry.entries()) {
      writer.open();
      writer(cereal::make_nvp("name", name), cereal::make_nvp("description", entry.description));
      writer.name_next("args");
      writer.open();
      writer.be_array();
      for (const FieldDescription& field : entry.args) {
        writer.open();
        writer(cereal::make_nvp("name", field.name), cereal::make_nvp("type", field.type),
               cereal::make_nvp("required", field.required));
        if (!field.required) {
          writer.name_next("default");
          writer.raw(field.default_value);
        }
        writer.close();
      }
      writer.close();
      writer.close();
    }
    writer.close();
    return writer.take() + "\n";
  }

  [[nodiscard]] std::string as_text() const {
    std::string text;
    for (const auto& [name, entry] : registry.entries()) {
      text.append(name).append("  ").append(entry.description).push_back('\n');
      for (const FieldDescription& field : entry.args)
        text.append("    ")
            .append(field.name)
            .append(": ")
            .append(field.type)
            .append(field.required ? ", required\n" : ", default " + field.default_value + "\n");
    }
    return text;
  }
};

/// Where the standard streams go that the parameters name; for launchers that did not see to it themselves.
void redirect(const Redirect& redirect) {
  if (!redirect.in.empty())
    os::replace_standard_stream(os::open_stream(redirect.in, os::StreamUse::read).get(), 0);
  if (!redirect.out.empty())
    os::replace_standard_stream(os::open_stream(redirect.out, os::StreamUse::append).get(), 1);
  if (!redirect.err.empty())
    os::replace_standard_stream(os::open_stream(redirect.err, os::StreamUse::append).get(), 2);
}

int complain(ready::Announcer& announcer, Exit status, const std::string& words) {
  announcer.failed(words);
  std::fprintf(stderr, "ipcm-boot: %s\n", words.c_str());
  return status_of(status);
}

int serve(const handoff::CommandLine& line, const Registry& registry, const char* called_as) {
  ready::Announcer announcer;
  try {
    auto environment = boot_twin::keep_environment();
    handoff::Inherited inherited = handoff::take_inherited(line);
    announcer = ready::Announcer(std::move(inherited.ready), std::move(inherited.real_stderr));
    const std::string text = handoff::take_parameters(line);
    const handoff::Parameters parameters = handoff::read_parameters(text);
    if (boot_twin::is_needed(parameters.info))
      return complain(announcer, Exit::bus_unavailable,
                      boot_twin::become(line, text, parameters.info, announcer, inherited.leash,
                                        std::move(environment), called_as));
    const Registry::Entry* entry = registry.find(parameters.class_name);
    if (entry == nullptr)
      return complain(announcer, Exit::unknown_class,
                      "unknown class '" + parameters.class_name + "'; this binary has: " + registry.names());
    redirect(parameters.redirect);

    auto setup = std::make_unique<service::Setup>();
    setup->name = parameters.name;
    setup->class_name = parameters.class_name;
    setup->info = parameters.info;
    setup->watch_pids = parameters.watch_pids;
    setup->leash = std::move(inherited.leash);
    setup->interval = parameters.interval;
    setup->intercept_errors = parameters.intercept_errors;
    setup->expose_error_details = parameters.expose_error_details;
    setup->registry = &registry;
    return service::serve(ServiceSetup(std::move(setup)), std::move(announcer),
                          [&](ServiceSetup given) { return entry->make(std::move(given), parameters.args); });
  } catch (const SystemError& error) {
    return complain(announcer, Exit::system_error, error.what());
  } catch (const Error& error) {
    return complain(announcer, Exit::usage, error.what());
  }
}

}  // namespace

int boot(int argc, char** argv, const Registry& registry) {
  os::ignore_broken_pipes();
  using Wish = handoff::CommandLine::Wish;
  try {
    const handoff::CommandLine line = handoff::read_command_line(argc, argv);
    switch (line.wish) {
      case Wish::boot:
        return serve(line, registry, argc > 0 ? argv[0] : "ipcm-boot");
      case Wish::help:
        std::printf(kUsage, argv[0], argv[0], argv[0]);
        return 0;
      case Wish::list:
        std::fputs(Listing{registry}.as_text().c_str(), stdout);
        return 0;
      case Wish::list_json:
        std::fputs(Listing{registry}.as_json().c_str(), stdout);
        return 0;
    }
    return 0;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "ipcm-boot: %s\ntry: %s --help\n", error.what(), argc > 0 ? argv[0] : "ipcm-boot");
    return status_of(Exit::usage);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ipcm-boot: %s\n", error.what());
    return status_of(Exit::system_error);
  }
}

}  // namespace ipcm
