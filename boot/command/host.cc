#include "command/host.h"

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

void Host::fail(const Request& request, const std::string& why) {
  try {
    service_.send_error(request, why);
  } catch (const Error& error) {
    complain(std::string("the error could not be sent: ") + error.what());
  }
}

}  // namespace ipcm::command
