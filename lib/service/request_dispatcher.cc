#include "service/request_dispatcher.h"

#include <utility>

#include "os/random.h"
#include "service/diagnostic.h"
#include "wire/parsed_content.h"
#include "wire/printable.h"

namespace ipcm::service {
namespace {

constexpr const char* kHiddenError = "Internal service error";

}  // namespace

void RequestDispatcher::complain(const std::string& sentence) const {
  service::complain(setup_.parameters.name, sentence);
}

void RequestDispatcher::complain_of_failure(const std::string& sentence) {
  record_.note_failure(sentence);
  complain(sentence);
}

void RequestDispatcher::dispatch(Request request, bus::Member& member) {
  // A handler may keep the request, move it away or change it: the answer goes by this copy. Its strings come
  // from the last request and have their memory already.
  Request asked = std::exchange(asked_, Request({}, {}, {}));
  asked.assign_address(request);
  ++record_.requests;
  Answer answered = later;
  std::string failure;
  const auto failed = [&asked] {
    return "the request " + wire::printable_name(asked.id()) + " of '" + wire::printable_name(asked.from()) +
           "' failed";
  };
  try {
    answered = service_.take_request(std::move(request));
  } catch (const std::exception& error) {
    if (setup_.parameters.expose_error_details) failure = error.what();
    if (failure.empty()) failure = kHiddenError;
    complain_of_failure(failed() + ": " + error.what());
  } catch (...) {
    failure = kHiddenError;
    complain_of_failure(failed() + " with an error of an unknown type");
  }
  if (answered.content() || !failure.empty()) send(member, asked, answered, failure);
  asked_ = std::move(asked);
}

void RequestDispatcher::send(bus::Member& member, const Request& asked, const Answer& answered,
                             const std::string& failure) {
  try {
    if (answered.content())
      send_response(member, asked, *answered.content());
    else
      send_error(member, asked, failure);
    ++(answered.content() ? record_.answered : record_.failed);
  } catch (const PeerGone& gone) {
    ++record_.failed;
    // One line for each requester that left, not for each of its requests.
    if (std::exchange(left_early_, asked.from()) != asked.from())
      complain(std::string("an answer found nobody: ") + gone.what());
  } catch (const Error& error) {
    // Too large, or its queue is full: the requester should not wait for it in vain.
    ++record_.failed;
    complain_of_failure(std::string("an answer could not be sent: ") + error.what());
    try {
      send_error(member, asked, setup_.parameters.expose_error_details ? error.what() : kHiddenError);
    } catch (const Error&) {
      // The requester notices the end of the connection.
      member.transport().abandon_asker(asked.from(), asked.connection());
    }
  }
}

void RequestDispatcher::send_response(bus::Member& member, const Request& request, const Content& answer) {
  std::string begin = wire::response_begin(request.id());
  member.sender().send_slices(os::make_uuid(), request.from(), wire::wrap_payload(begin, answer),
                              request.connection());
}

void RequestDispatcher::send_error(bus::Member& member, const Request& request, const std::string& text) {
  const Content content = wire::error_content(request.id(), text);
  member.sender().send_slices(os::make_uuid(), request.from(), {{}, content.json(), {}},
                              request.connection());
}

}  // namespace ipcm::service
