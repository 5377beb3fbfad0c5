#include "ipcm/service.h"

#include "ipcm/error.h"
#include "ipcm/handle.h"
#include "ipcm/launch.h"
#include "ipcm/registry.h"
#include "service/serve.h"
#include "service/service_runtime.h"
#include "service/start.h"
#include "wire/parsed_content.h"

namespace ipcm {

ServiceSetup::ServiceSetup(std::unique_ptr<service::Setup> setup) : setup_(std::move(setup)) {}
ServiceSetup::ServiceSetup(const std::string& name, const BusInfo& info, const ServiceOptions& options)
    : setup_(service::plan_here(name, options, info)) {}
ServiceSetup::ServiceSetup(ServiceSetup&&) noexcept = default;
ServiceSetup& ServiceSetup::operator=(ServiceSetup&&) noexcept = default;
ServiceSetup::~ServiceSetup() = default;
const std::string& ServiceSetup::name() const {
  if (!setup_) throw UsageError("this service setup was moved away");
  return setup_->parameters.name;
}

const std::string& ServiceSetup::class_name() const {
  (void)name();
  return setup_->parameters.class_name;
}

Service::Service(ServiceSetup setup) {
  (void)setup.name();  // throws for a setup that was moved away
  runtime_ = std::make_unique<service::ServiceRuntime>(*this, std::move(setup));
}
Service::~Service() = default;

service::ServiceRuntime& Service::runtime() const { return *runtime_; }
client::PendingRequests& Service::requests() const { return runtime_->requests(); }

int Service::run() {
  if (runtime_->joined()) throw UsageError("service '" + name() + "' runs already, or has run");
  return service::run_here(*this);
}

void Service::on_start() { runtime_->callbacks.on_start(*this); }

Answer Service::take_request(Request&& request) { return handle_request(request); }
Answer Service::handle_request(const Request& request) {
  const auto& handler = runtime_->setup().callbacks.handle_request;
  if (!handler) throw UsageError("service '" + name() + "' takes no requests");
  return handler(*this, request);
}

void Service::on_general_message(const Message& message) {
  runtime_->callbacks.on_general_message(*this, message);
}
void Service::on_interval() { runtime_->callbacks.on_interval(*this); }
void Service::on_activity(const Activity& activity) { runtime_->callbacks.on_all(*this, activity); }
void Service::on_cleanup() { runtime_->callbacks.on_cleanup(*this); }

bool Service::should_end() { return runtime_->callbacks.should_end(*this); }

const std::string& Service::name() const { return runtime_->setup().parameters.name; }
const BusInfo& Service::info() const { return runtime_->setup().parameters.info; }
Callbacks& Service::callbacks() { return runtime_->callbacks; }
Client& Service::client() { return runtime_->client(); }

const Registry& Service::registry() const { return *runtime_->setup().registry; }

void Service::send_response(const Request& request, const Content& answer) {
  runtime_->send_response(request, answer);
}
void Service::send_error(const Request& request, const std::string& text) {
  runtime_->send_error(request, text);
}

void Service::terminate(int code) { runtime_->terminate(code); }
void Service::watch_peers() { runtime_->watch_peers(); }
void Service::watch(int fd, Readiness wanted, std::function<void()> callback) {
  runtime_->watch(fd, wanted, std::move(callback));
}

Peer Service::ipcm_service(const std::string& name, const ServiceOptions& options) {
  runtime_->children().start(name, options, options.wait);
  return {*this, name};
}
Peer Service::ipcm_service_nowait(const std::string& name, const ServiceOptions& options) {
  runtime_->children().start(name, options, false);
  return {*this, name};
}
Pid Service::ipcm_worker(const std::string& name, const std::function<int()>& work, bool allow_threads) {
  (void)client().member().expect_usable();
  return runtime_->workers().start(name, work, allow_threads);
}
std::vector<Worker> Service::workers() { return runtime_->workers().running(); }
void Service::worker_patience(Duration span) { runtime_->workers().set_patience(span); }
OriginalIo Service::orig_io() const {
  const auto& streams = runtime_->setup().original;
  const auto at = [&](int stream) {
    const auto& original = streams.at(static_cast<std::size_t>(stream));
    return original ? original.get() : os::is_open(stream) ? stream : -1;
  };
  return {at(0), at(1), at(2)};
}

Peer Service::peer(const std::string& name) { return {*this, name}; }

// ---- Peer

std::optional<Pid> Peer::child_pid() const {
  const launch::Launch* launch = owner_->runtime().children().find(name_);
  return launch == nullptr ? std::nullopt : std::optional<Pid>(launch->first_pid());
}
std::optional<Pid> Peer::service_pid() const { return owner_->client().peer_pid(name_); }
bool Peer::ready() { return owner_->runtime().children().ready(name_, std::nullopt); }
bool Peer::ready(Duration limit) {
  return owner_->runtime().children().ready(name_, os::Deadline::limit(limit));
}
std::string Peer::send_message(const Content& content) {
  return owner_->client().send_message(name_, content);
}
client::PendingRequests& Peer::requests() const { return owner_->runtime().requests(); }

}  // namespace ipcm
