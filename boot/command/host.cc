#include "command/host.h"

#include <utility>

#include "ipcm/error.h"
#include "service/diagnostic.h"
#include "service/service_runtime.h"

namespace ipcm::command {

Host::Host(Service& service, const Plan& plan)
    : service_(service),
      plan_(plan),
      loop_(service.runtime().loop()),
      output_log_(loop_, 1),
      error_log_(loop_, 2) {}

void Host::wake() { service_.runtime().wake(); }

void Host::complain(const std::string& sentence) const { service::complain(service_.name(), sentence); }

void Host::end_service(int status) { service_.terminate(status); }

void Host::answer(const Request& request, const Content& content) {
  try {
    service_.send_response(request, content);
  } catch (const PeerGone& gone) {
    complain(std::string("an answer found nobody: ") + gone.what());
  } catch (const Error& error) {  // too large, for example
    fail(request, std::string("the answer could not be sent: ") + error.what());
  }
}

bool Host::tell(const std::string& peer, const Content& content, std::string& why) {
  try {
    return service_.client().try_message(peer, content, &why);
  } catch (const UsageError& error) {  // it is too large, for example
    why = error.what();
    return false;
  }
}

void Host::ask(const std::string& peer, const Content& content, ResponseCallback call) {
  (void)service_.send_request(peer, content, std::move(call));
}

bool Host::has_peer(const std::string& name) { return service_.client().peer_exists(name); }

void Host::watch_peers() { service_.watch_peers(); }

void Host::fail(const Request& request, const std::string& why) {
  try {
    service_.send_error(request, why);
  } catch (const Error& error) {
    complain(std::string("the error could not be sent: ") + error.what());
  }
}

}  // namespace ipcm::command
