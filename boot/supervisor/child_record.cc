#include "supervisor/child_record.h"

#include "ipcm/error.h"
#include "ipcm/json_archive.h"
#include "ipcm/service_parameters.h"
#include "os/process.h"

namespace ipcm::supervisor {

bool ChildRecord::describes(const ChildPlan& plan) const {
  const auto same = [](const Content& one, const Content& other) {
    return one.is_null() || other.is_null() ? one.is_null() && other.is_null() : one.json() == other.json();
  };
  return class_name == plan.class_name && boot == plan.boot && same(args, plan.args);
}

void ChildRecords::keep(const Child& child, Pid pid, Pid service) {
  const bool stays_down = child.state == State::stopping && child.after_stop == AfterStop::stays;
  Kept now{child.state, pid, service, child.restarts, child.backoff.count(), 0, stays_down};
  const auto known = kept_.find(child.plan.name);
  if (known != kept_.end()) {
    if (known->second.pid == pid) now.started = known->second.started;
    if (known->second == now) return;
  }
  if (pid > 0 && now.started == 0) now.started = os::start_time(pid).value_or(0);
  ChildRecord record{supervisor_,
                     child.plan.class_name,
                     child.plan.boot,
                     child.plan.args,
                     to_string(child.state),
                     pid,
                     now.started,
                     service,
                     child.restarts,
                     child.backoff.count(),
                     child.last_end,
                     stays_down};
  JsonWriter writer;
  writer(record);
  store_service_parameters(bus_, child.plan.name, writer.take());
  kept_[child.plan.name] = now;
}

std::optional<ChildRecord> ChildRecords::read(const std::string& child) const {
  const auto text = stored_service_parameters(bus_, child);
  if (!text) return std::nullopt;
  try {
    auto record = Content::json(*text).as<ChildRecord>("the record of a child");
    if (record.supervisor == supervisor_) return record;
  } catch (const ProtocolError&) {
    // `ipcm start` has its own text there.
  }
  return std::nullopt;
}

void ChildRecords::forget(const std::string& child) noexcept {
  kept_.erase(child);
  forget_service_parameters(bus_, child);
}

}  // namespace ipcm::supervisor
