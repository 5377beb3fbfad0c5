#include "stored_start.h"

#include "ipcm/json_archive.h"
#include "os/directory.h"
#include "output.h"

namespace ipcm::launcher {
namespace {

struct StoredDocument {
  StoredStart& start;

  void save(JsonWriter& archive) const {
    archive(cereal::make_nvp("class", start.class_name), cereal::make_nvp("pid", start.pid),
            cereal::make_nvp("directory", start.directory));
    if (!start.boot.empty()) archive(cereal::make_nvp("boot", start.boot));
    if (start.secret) archive(cereal::make_nvp("secret", start.secret));
    if (!start.args.is_null()) archive(cereal::make_nvp("args", start.args));
    if (start.expose_error_details)
      archive(cereal::make_nvp("expose_error_details", start.expose_error_details));
    if (start.interval_ns != 0) archive(cereal::make_nvp("interval_ns", start.interval_ns));
    if (start.spin_ns != 0) archive(cereal::make_nvp("spin_ns", start.spin_ns));
    const Redirect& to = start.redirect;
    if (!to.in.empty()) archive(cereal::make_nvp("stdin", to.in));
    if (!to.out.empty()) archive(cereal::make_nvp("stdout", to.out));
    if (!to.err.empty()) archive(cereal::make_nvp("stderr", to.err));
  }

  void load(JsonReader& archive) {
    archive(cereal::make_nvp("class", start.class_name), cereal::make_nvp("pid", start.pid),
            cereal::make_nvp("directory", start.directory));
    archive(optional("boot", start.boot), optional("secret", start.secret), optional("args", start.args),
            optional("expose_error_details", start.expose_error_details),
            optional("interval_ns", start.interval_ns), optional("spin_ns", start.spin_ns),
            optional("stdin", start.redirect.in), optional("stdout", start.redirect.out),
            optional("stderr", start.redirect.err));
  }
};

/// A path that means the same in every working directory. "&1" and names without a slash are no paths here.
std::string fixed_path(const std::string& path, bool may_be_name) {
  const bool is_path = may_be_name ? path.find('/') != std::string::npos : !path.starts_with('&');
  return path.empty() || !is_path ? path : os::absolute(path);
}

}  // namespace

StoredStart StoredStart::of(const ServiceOptions& service, Pid pid) {
  StoredStart start;
  start.class_name = service.class_name;
  start.secret = service.secret;
  if (!service.secret) start.args = service.args;
  start.expose_error_details = service.expose_error_details;
  const auto in_ns = [](Duration span) { return std::chrono::nanoseconds(span).count(); };
  if (service.interval) start.interval_ns = in_ns(*service.interval);
  start.spin_ns = in_ns(service.spin);
  if (service.exec) {
    start.boot = fixed_path(service.exec->path, true);
    start.directory = service.exec->directory;
  }
  if (start.directory.empty()) start.directory = os::current_directory();
  start.redirect.in = fixed_path(service.redirect.in, false);
  start.redirect.out = fixed_path(service.redirect.out, false);
  start.redirect.err = fixed_path(service.redirect.err, false);
  start.pid = pid;
  return start;
}

StoredStart StoredStart::parse(const std::string& text) {
  StoredStart start;
  StoredDocument document{start};
  JsonReader reader(text, "stored parameters", JsonReader::UnknownKeys::refused);
  reader(document);
  return start;
}

std::string StoredStart::text() const {
  StoredStart copy = *this;
  return json_of(StoredDocument{copy});
}

void StoredStart::apply(ServiceOptions& service) const {
  service.class_name = class_name;
  service.args = args;
  service.exec.emplace().path = boot;
  service.exec->directory = directory;
  service.expose_error_details = expose_error_details;
  if (interval_ns != 0) service.interval = std::chrono::nanoseconds(interval_ns);
  service.spin = std::chrono::nanoseconds(spin_ns);
  service.redirect.in = redirect.in;
  service.redirect.out = redirect.out;
  service.redirect.err = redirect.err;
}

}  // namespace ipcm::launcher
