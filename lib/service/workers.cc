#include "service/workers.h"

#include <csignal>
#include <utility>

#include "os/process.h"
#include "os/spawn.h"
#include "service/diagnostic.h"
#include "service/serve.h"
#include "wire/printable.h"

namespace ipcm::service {
namespace {

void complain_worker(const std::string& service, const std::string& name, const char* sentence) noexcept {
  try {
    complain_about(
        "worker '" + wire::printable_name(name) + "' of service '" + wire::printable_name(service) + "' ends",
        sentence);
  } catch (...) {
    return;  // out of memory
  }
}

/// The whole life of a worker. It must not throw: the stack above belongs to the service.
[[noreturn]] void run_worker(const std::string& service, const std::string& name, Pid parent,
                             const std::function<int()>& work) noexcept {
  int status = static_cast<int>(Exit::service_threw);
  try {
    os::discard_stdio();
    os::end_with_parent(parent);
    os::set_process_title(name);
    status = work();
  } catch (const std::exception& error) {
    complain_worker(service, name, error.what());
  } catch (...) {
    complain_worker(service, name, "an error of an unknown type");
  }
  os::leave_forked_process(status);
}

}  // namespace

Pid Workers::start(const std::string& name, const std::function<int()>& work, bool allow_threads) {
  if (!work) throw UsageError("worker '" + name + "' of service '" + service_ + "': nothing to run");
  if (!allow_threads && os::has_threads())
    throw UsageError(
        "worker '" + name + "' of service '" + service_ +
        "': this process has several threads, and a fork would copy their locks as they stand; start a "
        "service with exec instead, or set allow_threads if you know that it is safe");
  const Pid parent = os::own_pid();
  auto child = os::fork_process();
  if (!child) run_worker(service_, name, parent, work);
  const Pid pid = child->pid();
  workers_.push_back({name, std::move(*child)});
  return pid;
}

void Workers::forget_ended() {
  // Their Child has reaped them when SIGCHLD came.
  std::erase_if(workers_, [](OwnWorker& worker) { return worker.child.reaped(); });
}

std::vector<Worker> Workers::running() {
  std::vector<Worker> all;
  for (OwnWorker& worker : workers_) {
    (void)worker.child.try_reap();
    if (!worker.child.reaped()) all.push_back({worker.name, worker.child.pid()});
  }
  return all;
}

void Workers::begin_to_end() {
  for (OwnWorker& worker : workers_) (void)worker.child.signal(SIGTERM);
  ends_ = os::Deadline::after(patience_);
}

void Workers::end() {
  for (OwnWorker& worker : workers_) (void)worker.child.reap(ends_);
  for (OwnWorker& worker : workers_) (void)worker.child.kill_and_reap();
  workers_.clear();
}

}  // namespace ipcm::service
