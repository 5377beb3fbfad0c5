#pragma once

#include <memory>
#include <string>

#include "bus/member.h"

namespace ipcm::test {

/// Returns a member of the bus with its own event loop.
[[nodiscard]] inline std::unique_ptr<bus::Member> member(const BusInfo& info, const std::string& name,
                                                         bool reconnect = false) {
  transport::JoinRequest request;
  request.info = info;
  request.name = name;
  request.reconnect = reconnect;
  return std::make_unique<bus::Member>(request, std::make_shared<Loop>(), bus::Member::Sending::waits);
}

}  // namespace ipcm::test
