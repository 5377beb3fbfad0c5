// Processes that a service forks for itself: Core's part of it.

#include <csignal>

#include "os/process.h"
#include "os/spawn.h"
#include "service/core.h"
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

/// The worker's whole life. Nothing may be thrown out of here: the stack above is the service's.
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

Pid Core::start_worker(const std::string& name, const std::function<int()>& work, bool allow_threads) {
  (void)client().member().expect_usable();
  if (!work) throw UsageError("worker '" + name + "' of service '" + setup_->name + "': nothing to run");
  if (!allow_threads && os::has_threads())
    throw UsageError(
        "worker '" + name + "' of service '" + setup_->name +
        "': this process has several threads, and a fork would copy their locks as they stand; start a "
        "service with exec instead, or set allow_threads if you know that it is safe");
  const Pid parent = os::own_pid();
  auto child = os::fork_process();
  if (!child) run_worker(setup_->name, name, parent, work);
  const Pid pid = child->pid();
  workers_.push_back({name, std::move(*child)});
  return pid;
}

void Core::forget_ended_workers() {
  // Reaped by their Child when SIGCHLD came; nobody is told.
  std::erase_if(workers_, [](OwnWorker& worker) { return worker.child.reaped(); });
}

std::vector<Worker> Core::workers() {
  std::vector<Worker> all;
  for (OwnWorker& worker : workers_) {
    (void)worker.child.try_reap();
    if (!worker.child.reaped()) all.push_back({worker.name, worker.child.pid()});
  }
  return all;
}

void Core::begin_to_end_workers() {
  for (OwnWorker& worker : workers_) (void)worker.child.signal(SIGTERM);
  workers_end_ = os::Deadline::after(worker_patience);
}

void Core::end_workers() {
  for (OwnWorker& worker : workers_) (void)worker.child.reap(workers_end_);
  for (OwnWorker& worker : workers_) (void)worker.child.kill_and_reap();
  workers_.clear();
}

}  // namespace ipcm::service
