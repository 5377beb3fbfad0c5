#include "launch/launch_fds.h"

#include <algorithm>

#include "os/pipe.h"
#include "os/process.h"
#include "os/standard_streams.h"
#include "os/stream.h"
#include "os/sys.h"

namespace ipcm::launch {
namespace {

/// The number of the ready pipe in a boot binary.
constexpr int kChildReadyFd = 3;

constexpr std::array<std::string_view, 8> kRemoved = {
    handoff::kLeashVariable, handoff::kStderrVariable, handoff::kLogVariable, handoff::kOriginalVariable,
    handoff::kWholeVariable, "NOTIFY_SOCKET",          "WATCHDOG_USEC",       "WATCHDOG_PID"};

bool sets(std::string_view entry, std::string_view name) {
  return entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=';
}

std::vector<std::string> environment_with(std::map<std::string, std::string> changes) {
  std::vector<std::string> all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto is_of = [text](std::string_view name) { return sets(text, name); };
    if (std::any_of(kRemoved.begin(), kRemoved.end(), is_of)) continue;
    if (std::any_of(changes.begin(), changes.end(), [&](const auto& change) { return is_of(change.first); }))
      continue;
    all.emplace_back(text);
  }
  for (const auto& [name, value] : changes) all.emplace_back(name).append("=").append(value);
  return all;
}

}  // namespace

std::array<os::UniqueFd*, ChildFds::kCount> ChildFds::all() {
  return {&ready,      &leash, &capture,     &real_stderr, &in,         &out,
          &parameters, &log,   &original[0], &original[1], &original[2]};
}

std::array<int, ChildFds::kCount> ChildFds::release() {
  std::array<int, kCount> numbers{};
  const auto fds = all();
  for (std::size_t i = 0; i < kCount; ++i) numbers[i] = fds[i]->release();
  return numbers;
}

void ChildFds::take_up(const std::array<int, kCount>& numbers) {
  const auto fds = all();
  for (std::size_t i = 0; i < kCount; ++i) *fds[i] = os::UniqueFd(numbers[i]);
}

int ChildFds::first_stdout() const { return out ? out.get() : returns_stdout() ? capture.get() : log.get(); }

int ChildFds::first_stderr() const {
  return capture ? capture.get() : real_stderr ? real_stderr.get() : log.get();
}

LaunchFds open_fds(const LaunchPlan& plan) {
  LaunchFds fds;
  auto& [childs, ours] = fds;
  os::Pipe ready = os::make_pipe();
  childs.ready = std::move(ready.write_end);
  ours.ready = std::move(ready.read_end);
  // A pipe that the child itself can read never fails with EPIPE.
  if (plan.outlives_launcher) childs.ready = os::open_both_ways(std::move(childs.ready));
  os::set_nonblocking(ours.ready.get());
  // A service has all three streams, also if they are closed in its launcher.
  const auto closed = os::closed_standard_streams();
  const Redirect& redirect = plan.redirect;
  if (!plan.log.empty() && (redirect.out.empty() || redirect.err.empty()))
    childs.log = os::RollingLog::open(plan.log);
  if (const auto in = redirect.in.empty() && closed[0] ? "&0" : redirect.in; !in.empty())
    childs.in = os::open_stream(in, os::StreamUse::read);
  if (const auto out = redirect.out.empty() && closed[1] && !childs.log ? "&1" : redirect.out; !out.empty())
    childs.out = os::open_stream(out, os::StreamUse::append);
  if (!childs.log || !redirect.err.empty())
    childs.real_stderr = os::open_stream(redirect.err.empty() ? "&2" : redirect.err, os::StreamUse::append);
  if (plan.capture_stderr) {
    os::Pipe capture = os::make_pipe();
    childs.capture = std::move(capture.write_end);
    ours.capture = std::move(capture.read_end);
    ours.words_to = childs.real_stderr ? WordsTo::stream(os::duplicate(childs.real_stderr.get()))
                                       : WordsTo::log(os::duplicate(childs.log.get()));
  }
  if (plan.leash_to >= 0) {
    childs.leash = os::duplicate(plan.leash_to);
  } else if (plan.leash) {
    auto self = os::open_process(os::own_pid());
    if (self) childs.leash = std::move(*self);
  }
  for (std::size_t i = 0; i < childs.original.size(); ++i)
    if (plan.original[i] >= 0 && os::is_open(plan.original[i]))
      childs.original[i] = os::duplicate(plan.original[i], 3);
  return fds;
}

os::SpawnRequest plan_boot(const LaunchPlan& plan, const ChildFds& fds) {
  os::SpawnRequest spawn;
  int next = kChildReadyFd;  // the numbers in the child
  std::map<std::string, std::string> variables = plan.env;
  spawn.program = plan.program;
  spawn.args.push_back(plan.program);
  spawn.args.insert(spawn.args.end(), plan.args.begin(), plan.args.end());
  spawn.fds.push_back({fds.ready.get(), next});
  spawn.args.insert(spawn.args.end(), {"--ready-fd", std::to_string(next++)});
  if (fds.leash) {
    spawn.fds.push_back({fds.leash.get(), next});
    variables[handoff::kLeashVariable] = std::to_string(next++);
  }
  if (fds.in) spawn.fds.push_back({fds.in.get(), 0});
  if (fds.first_stdout() >= 0) spawn.fds.push_back({fds.first_stdout(), 1});
  spawn.fds.push_back({fds.first_stderr(), 2});
  if (fds.capture && fds.real_stderr) {
    spawn.fds.push_back({fds.real_stderr.get(), next});
    variables[handoff::kStderrVariable] = std::to_string(next++);
  }
  if (fds.log) {
    spawn.fds.push_back({fds.log.get(), next});
    variables[handoff::kLogVariable] =
        std::to_string(next++) + (fds.returns_stdout() ? ",1" : "") + (fds.returns_stderr() ? ",2" : "");
  }
  std::string numbers;
  for (const os::UniqueFd& stream : fds.original) {
    if (stream) spawn.fds.push_back({stream.get(), next});
    numbers.append(numbers.empty() ? "" : ",").append(stream ? std::to_string(next++) : "-");
  }
  if (numbers != "-,-,-") variables[handoff::kOriginalVariable] = numbers;
  if (fds.parameters) {
    spawn.fds.push_back({fds.parameters.get(), next});
    spawn.args.insert(spawn.args.end(), {"--params-fd", std::to_string(next++)});
  } else {
    spawn.args.push_back(plan.parameters);
  }
  // A boot that waits for the close of the pipe starts earlier: the kernel places a process that a write
  // wakes on the processor of the writer, and one that a close wakes on any idle processor.
  if (plan.parameters_come_whole) variables.emplace(handoff::kWholeVariable, "1");
  spawn.env = environment_with(std::move(variables));
  spawn.directory = plan.directory;
  spawn.new_session = plan.new_session;
  return spawn;
}

}  // namespace ipcm::launch
