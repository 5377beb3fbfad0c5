#include "os/time_limit.h"

#include <poll.h>

#include <algorithm>

#include "os/descriptor.h"

namespace ipcm::os {
namespace {

struct Limit {
  Deadline deadline = Deadline::never();
  std::uint32_t generation = 0;  // of the process that has set it
};
thread_local Limit innermost;

}  // namespace

TimeLimit::TimeLimit(Deadline deadline)
    : before_(innermost.deadline), before_generation_(innermost.generation) {
  innermost = {deadline, generation()};
}

TimeLimit::~TimeLimit() { innermost = {before_, before_generation_}; }

Deadline TimeLimit::current() {
  return innermost.generation == generation() ? innermost.deadline : Deadline::never();
}

void wait_a_moment(Duration moment, Deadline deadline) {
  (void)::poll(nullptr, 0, std::max(std::min(Deadline::after(moment), deadline).poll_timeout(), 0));
}

Deadline limited(Duration longest) { return std::min(Deadline::after(longest), TimeLimit::current()); }

Deadline limited(Duration longest, Duration shortest) {
  return std::max(limited(longest), Deadline::after(shortest));
}

}  // namespace ipcm::os
