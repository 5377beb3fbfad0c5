#pragma once

#include <string>

#include "bus/member.h"
#include "ipcm/service.h"
#include "service/service_record.h"
#include "service/setup.h"

namespace ipcm::service {

/// Gives each request to the service object, and sends the answer or the error to the requester.
class RequestDispatcher {
 public:
  /// Borrows all. Counts the requests in `record`.
  RequestDispatcher(Service& service, const Setup& setup, ServiceRecord& record)
      : service_(service), setup_(setup), record_(record) {}

  /// Calls Service::take_request(). An exception in it concerns the requester alone: the service goes on.
  void dispatch(Request request, bus::Member& member);

  // Send what the library throws for: PeerGone, or Error for an answer that is too large or a full queue.
  static void send_response(bus::Member& member, const Request& request, const Content& answer);
  static void send_error(bus::Member& member, const Request& request, const std::string& text);

 private:
  void send(bus::Member& member, const Request& asked, const Answer& answered, const std::string& failure);
  void complain(const std::string& sentence) const;
  void complain_of_failure(const std::string& sentence);

  Service& service_;
  const Setup& setup_;
  ServiceRecord& record_;
  Request asked_{{}, {}, {}};  // room for the address of the next request
  std::string left_early_;     // the last requester that did not stay for its answer
};

}  // namespace ipcm::service
