#include "launch/launch.h"

#include <sys/epoll.h>

#include <array>
#include <csignal>
#include <cstdio>

#include "handoff/handoff.h"
#include "os/directory.h"
#include "os/pipe.h"
#include "os/spawn.h"
#include "os/sys.h"

namespace ipcm::launch {
namespace {

using Phase = LaunchError::Phase;

/// Where a boot binary finds its ready pipe.
constexpr int kChildReadyFd = 3;
/// A child that has said it can't start, or closed its ready pipe, has this long to end by itself.
constexpr auto kLastWords = std::chrono::seconds(1);

std::string started_as(const std::string& service) { return "service '" + service + "' did not start: "; }

std::string readable_span(Duration span) {
  std::array<char, 32> text{};
  const double ms = std::chrono::duration<double, std::milli>(span).count();
  if (ms < 1000)
    std::snprintf(text.data(), text.size(), "%.1f ms", ms);
  else
    std::snprintf(text.data(), text.size(), "%.3g s", ms / 1000);
  return text.data();
}

/// The last words on one line: for what(), where the whole tail would be too much.
std::string last_words(const std::string& tail) {
  constexpr std::size_t kLongest = 300;
  std::string line;
  for (const char c : tail) {
    if (c == '\n')
      line.append(line.empty() || line.ends_with(" / ") ? "" : " / ");
    else if (static_cast<unsigned char>(c) >= 0x20)
      line.push_back(c);
  }
  if (line.ends_with(" / ")) line.resize(line.size() - 3);
  if (line.size() > kLongest) line = "…" + line.substr(line.size() - kLongest);
  return line;
}

std::string hint_for(int error, const std::string& program) {
  switch (error) {
    case ENOENT:
      return os::look_at(program).kind == os::FileKind::none
                 ? "; name the boot binary with exec.path, --boot or $IPCM_BOOT"
                 : "; the file is there, so its interpreter (the #! line) or its loader is missing";
    case EACCES:
      return "; it has no execute permission (chmod +x), or a directory above it can't be entered";
    case ENOEXEC:
      return "; it is neither a binary for this machine nor a script with a #! line";
    case E2BIG:
      return "; arguments and environment together are too large (see ulimit -s)";
    default:
      return "";
  }
}

bool is_removed_variable(std::string_view entry) {
  for (const std::string_view name :
       {std::string_view(handoff::kLeashVariable), std::string_view(handoff::kStderrVariable),
        std::string_view(handoff::kOriginalVariable), std::string_view("NOTIFY_SOCKET"),
        std::string_view("WATCHDOG_USEC"), std::string_view("WATCHDOG_PID")})
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') return true;
  return false;
}

std::vector<std::string> environment_with(std::map<std::string, std::string> changes) {
  std::vector<std::string> all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (is_removed_variable(text) || changes.contains(std::string(text.substr(0, text.find('='))))) continue;
    all.emplace_back(text);
  }
  for (const auto& [name, value] : changes) all.push_back(name + "=" + value);
  return all;
}

}  // namespace

/// The descriptors that the child is meant to have. Released before a fork, taken up again on both sides.
struct Launch::Lines {
  os::UniqueFd ready, leash, capture, real_stderr, in, out, parameters;
  handoff::OriginalStreams original;

  static constexpr std::size_t kCount = 10;
  [[nodiscard]] std::array<os::UniqueFd*, kCount> all() {
    return {&ready, &leash,      &capture,     &real_stderr, &in,
            &out,   &parameters, &original[0], &original[1], &original[2]};
  }
  [[nodiscard]] std::array<int, kCount> release() {
    std::array<int, kCount> numbers{};
    const auto fds = all();
    for (std::size_t i = 0; i < kCount; ++i) numbers[i] = fds[i]->release();
    return numbers;
  }
  void take_up(const std::array<int, kCount>& numbers) {
    const auto fds = all();
    for (std::size_t i = 0; i < kCount; ++i) *fds[i] = os::UniqueFd(numbers[i]);
  }
};

std::string find_boot_binary(const std::string& service, const std::string& wanted) {
  const auto began = os::Clock::now();
  std::string path = wanted;
  if (path.empty()) path = os::environment("IPCM_BOOT").value_or("");
  if (path.empty()) path = IPCM_INSTALLED_BOOT;
  const auto refuse = [&](int error) {
    LaunchError::Facts facts;
    facts.name = service;
    facts.error = error;
    facts.elapsed = os::Clock::now() - began;
    throw LaunchError(
        started_as(service) + "boot binary '" + path + "': " + os::errno_text(error) + hint_for(error, path),
        facts);
  };
  if (path.find('/') == std::string::npos) {
    const std::string places = os::environment("PATH").value_or("/usr/local/bin:/usr/bin:/bin");
    for (std::size_t at = 0; at <= places.size();) {
      const std::size_t end = std::min(places.find(':', at), places.size());
      const std::string candidate = (end == at ? std::string(".") : places.substr(at, end - at)) + "/" + path;
      if (os::why_not_executable(candidate) == 0) return candidate;
      at = end + 1;
    }
    refuse(ENOENT);
  }
  if (const int error = os::why_not_executable(path); error != 0) refuse(error);
  return path;
}

void Launch::refuse(Phase phase, int error, const std::string& what) const {
  LaunchError::Facts facts;
  facts.name = request_.name;
  facts.phase = phase;
  facts.error = error;
  facts.elapsed = os::Clock::now() - began_;
  throw LaunchError(started_as(request_.name) + what, facts);
}

Launch::Launch(Loop& loop, Request request)
    : loop_(loop), request_(std::move(request)), began_(os::Clock::now()) {
  Lines lines;
  os::Pipe ready, capture;
  try {
    ready = os::make_pipe();
    lines.ready = std::move(ready.write_end);
    if (!request_.redirect.in.empty()) lines.in = os::open_stream(request_.redirect.in, os::StreamUse::read);
    if (!request_.redirect.out.empty())
      lines.out = os::open_stream(request_.redirect.out, os::StreamUse::append);
    lines.real_stderr =
        os::open_stream(request_.redirect.err.empty() ? "&2" : request_.redirect.err, os::StreamUse::append);
    if (request_.capture_stderr) {
      capture = os::make_pipe();
      lines.capture = std::move(capture.write_end);
    }
    if (request_.leash) {
      auto self = os::open_process(os::own_pid());
      if (self) lines.leash = std::move(*self);
    }
    for (std::size_t i = 0; i < lines.original.size(); ++i)
      if (os::is_open(request_.original[i])) lines.original[i] = os::duplicate(request_.original[i], 3);
    const bool by_file = request_.secret || request_.parameters.size() >= handoff::kLongestArgument;
    if (!request_.program.empty() && by_file)
      lines.parameters = os::make_sealed_memory_file("ipcm-parameters", request_.parameters);
  } catch (const SystemError& error) {
    refuse(Phase::prepare, error.code(), error.what());
  }
  ready_pipe_ = std::move(ready.read_end);
  os::set_nonblocking(ready_pipe_.get());
  os::UniqueFd shown;
  if (request_.capture_stderr) shown = os::duplicate(lines.real_stderr.get());

  if (request_.program.empty() || request_.post_fork)
    start_by_fork(std::move(lines));
  else
    start_by_spawn(std::move(lines));

  first_pid_ = child_.pid();
  if (request_.capture_stderr) capture_.begin(loop_, std::move(capture.read_end), std::move(shown));
  ready_watch_ = loop_.watch(ready_pipe_.get(), EPOLLIN, [this](std::uint32_t) { on_ready_pipe(); });
  child_watch_ = loop_.watch(child_.pidfd(), EPOLLIN, [this](std::uint32_t) { on_child_ended(); });
}

Launch::~Launch() {
  ready_watch_.stop();
  child_watch_.stop();
}

namespace {

/// What the boot binary is run with; the numbers are those that the child will see.
os::SpawnRequest spawn_request(const Request& request, int ready, int leash, int capture, int real_stderr,
                               int in, int out, int parameters, const handoff::OriginalStreams& original) {
  os::SpawnRequest spawn;
  int next = kChildReadyFd;
  std::map<std::string, std::string> variables = request.env;
  spawn.program = request.program;
  spawn.args.push_back(request.program);
  spawn.args.insert(spawn.args.end(), request.args.begin(), request.args.end());
  spawn.fds.push_back({ready, next});
  spawn.args.insert(spawn.args.end(), {"--ready-fd", std::to_string(next++)});
  if (leash >= 0) {
    spawn.fds.push_back({leash, next});
    variables[handoff::kLeashVariable] = std::to_string(next++);
  }
  if (in >= 0) spawn.fds.push_back({in, 0});
  if (out >= 0) spawn.fds.push_back({out, 1});
  if (capture >= 0) {
    spawn.fds.push_back({capture, 2});
    spawn.fds.push_back({real_stderr, next});
    variables[handoff::kStderrVariable] = std::to_string(next++);
  } else {
    spawn.fds.push_back({real_stderr, 2});
  }
  std::string numbers;
  for (const os::UniqueFd& stream : original) {
    if (stream) spawn.fds.push_back({stream.get(), next});
    numbers.append(numbers.empty() ? "" : ",").append(stream ? std::to_string(next++) : "-");
  }
  if (numbers != "-,-,-") variables[handoff::kOriginalVariable] = numbers;
  if (parameters >= 0) {
    spawn.fds.push_back({parameters, next});
    spawn.args.insert(spawn.args.end(), {"--params-fd", std::to_string(next++)});
  } else {
    spawn.args.push_back(request.parameters);
  }
  spawn.env = environment_with(std::move(variables));
  spawn.directory = request.directory;
  spawn.new_session = request.new_session;
  return spawn;
}

std::string describe(const os::SpawnFailure& failure, const Request& request) {
  const std::string why = os::errno_text(failure.error);
  switch (failure.step) {
    case os::SpawnStep::make_process:
      return "no process could be made: " + why;
    case os::SpawnStep::pass_descriptors:
      return "descriptors could not be passed to it: " + why;
    case os::SpawnStep::make_session:
      return "it could not get a session of its own: " + why;
    case os::SpawnStep::change_directory:
      return "can't enter its working directory '" + request.directory + "': " + why;
    default:
      return "can't execute '" + request.program + "': " + why + hint_for(failure.error, request.program);
  }
}

}  // namespace

void Launch::start_by_spawn(Lines lines) {
  const auto spawn = spawn_request(request_, lines.ready.get(), lines.leash.get(), lines.capture.get(),
                                   lines.real_stderr.get(), lines.in.get(), lines.out.get(),
                                   lines.parameters.get(), lines.original);
  std::variant<os::Child, os::SpawnFailure> made = os::SpawnFailure{};
  try {
    made = os::spawn(spawn);
  } catch (const SystemError& error) {
    refuse(Phase::prepare, error.code(), error.what());
  }
  if (const auto* failure = std::get_if<os::SpawnFailure>(&made))
    refuse(failure->step == os::SpawnStep::make_process ? Phase::fork : Phase::exec, failure->error,
           describe(*failure, request_));
  child_ = std::move(std::get<os::Child>(made));
}

void Launch::start_by_fork(Lines lines) {
  const auto numbers = lines.release();
  std::optional<os::Child> child;
  try {
    child = os::fork_process();
  } catch (const SystemError& error) {
    lines.take_up(numbers);
    refuse(Phase::fork, error.code(), error.what());
  }
  if (child) {
    lines.take_up(numbers);
    child_ = std::move(*child);
    return;
  }
  // In the child, from here to its end. Nothing may be thrown out of here: the stack above belongs to the
  // parent's story.
  os::discard_stdio();
  int status = 71;  // a system error, in the words of the boot contract
  try {
    if (request_.new_session) os::start_session();
    if (request_.post_fork)
      request_.post_fork();  // may fork again: the numbers survive that, owned descriptors would not
    lines.take_up(numbers);
    if (lines.in) os::replace_standard_stream(lines.in.get(), 0);
    if (lines.out) os::replace_standard_stream(lines.out.get(), 1);
    os::replace_standard_stream(lines.capture ? lines.capture.get() : lines.real_stderr.get(), 2);
    ready::Announcer announcer(std::move(lines.ready),
                               lines.capture ? std::move(lines.real_stderr) : os::UniqueFd());
    lines.capture.reset();
    if (!request_.program.empty()) {
      // exec after a plain fork, for the sake of post_fork.
      lines.ready = announcer.give_pipe();
      lines.real_stderr = announcer.give_stderr();
      auto spawn = spawn_request(request_, lines.ready.get(), lines.leash.get(), lines.real_stderr ? 2 : -1,
                                 lines.real_stderr ? lines.real_stderr.get() : 2, -1, -1,
                                 lines.parameters.get(), lines.original);
      spawn.new_session = false;
      const os::SpawnFailure failure = os::become(spawn);
      // What was passed is where the program would have found it; our own numbers may be closed already.
      ready::Announcer(os::UniqueFd(kChildReadyFd), {}).failed(describe(failure, request_));
      os::leave_forked_process(127);
    }
    try {
      status =
          request_.body(ChildSide{std::move(announcer), std::move(lines.leash), std::move(lines.original)});
    } catch (const std::exception& error) {
      std::fprintf(stderr, "ipcm: service '%s': %s\n", request_.name.c_str(), error.what());
      status = 70;
    }
  } catch (const std::exception& error) {
    lines.take_up(numbers);
    ready::Announcer(std::move(lines.ready), {}).failed(error.what());
  } catch (...) {
    status = 70;
  }
  os::leave_forked_process(status);
}

void Launch::on_ready_pipe() {
  std::string bytes;
  const auto result = os::read_some(ready_pipe_.get(), bytes, 4096, "ready pipe");
  if (result == os::ReadResult::later) return;
  if (result == os::ReadResult::some) {
    if (const auto report = listener_.feed(bytes)) heard(*report);
    return;
  }
  ready_watch_.stop();
  heard(listener_.at_end());
}

void Launch::heard(const ready::Report& report) {
  if (verdict_ != Verdict::pending || bad_news_) return;
  if (const auto* ready = std::get_if<ready::Ready>(&report)) {
    succeed(*ready);
    return;
  }
  // It is about to end by itself, having closed the pipe; how it ends is part of the story.
  bad_news_ = report;
  ready_watch_.stop();
  (void)child_.try_reap();
  if (child_.reaped())
    conclude();
  else
    last_words_watch_ = loop_.at(os::Clock::now() + kLastWords, [this] { conclude(); });
}

void Launch::on_child_ended() {
  const auto status = child_.try_reap();
  if (!child_.reaped()) return;
  child_watch_.stop();
  while (verdict_ == Verdict::pending && !bad_news_ && os::is_readable(ready_pipe_.get())) on_ready_pipe();
  if (verdict_ != Verdict::pending) return;
  // If somebody else still has the pipe, it may be a daemon in the making, provided that this one left in
  // peace.
  if (!bad_news_ && !(status && status->success())) bad_news_ = ready::Silent{};
  if (bad_news_) conclude();
}

void Launch::conclude() {
  if (verdict_ != Verdict::pending) return;
  LaunchError::Facts facts;
  facts.status = child_.status();
  const std::string ended = facts.status ? facts.status->describe() : child_.reaped() ? "ended" : "";
  std::string what;
  if (const auto* failed = std::get_if<ready::Failed>(&*bad_news_)) {
    facts.phase = failed->joined ? Phase::start : Phase::boot;
    facts.reason = failed->error;
    what = failed->error + (ended.empty() ? "" : " (it " + ended + ")");
  } else {
    facts.phase = request_.on_bus && request_.on_bus() ? Phase::start : Phase::boot;
    if (ended.empty())
      what = "it closed the ready pipe without a word, and ran on; it was ended";
    else
      what = (request_.program.empty() ? std::string("its process ")
                                       : "boot binary '" + request_.program + "' ") +
             ended + " after " + readable_span(os::Clock::now() - began_) + ", before it was ready";
  }
  fail(std::move(facts), what);
}

void Launch::succeed(const ready::Ready& ready) {
  verdict_ = Verdict::ready;
  elapsed_ = os::Clock::now() - began_;
  service_pid_ = ready.pid > 0 ? ready.pid : first_pid_;
  ready_watch_.stop();
  limit_watch_.stop();
  ready_pipe_.reset();
  capture_.pass_on(loop_);
}

void Launch::end_child() {
  for (Watch* watch : {&ready_watch_, &child_watch_, &limit_watch_, &last_words_watch_}) watch->stop();
  (void)child_.kill_and_reap();
  ready_pipe_.reset();
}

void Launch::fail(LaunchError::Facts facts, const std::string& what) {
  verdict_ = Verdict::failed;
  end_child();
  facts.name = request_.name;
  facts.elapsed = os::Clock::now() - began_;
  facts.stderr_tail = capture_.take_tail();
  const std::string words = last_words(facts.stderr_tail);
  // A boot of ours says the same on both ways.
  const bool said_already = words.empty() || what.find(words) != std::string::npos ||
                            (!facts.reason.empty() && words.find(facts.reason) != std::string::npos);
  error_.emplace(started_as(request_.name) + what + (said_already ? "" : "; its last words: " + words),
                 std::move(facts));
}

void Launch::decide(os::Deadline deadline) {
  if (!loop_.run_until([&] { return verdict_ != Verdict::pending; }, deadline)) give_up();
}

void Launch::limit(os::Deadline deadline) {
  if (verdict_ == Verdict::pending) limit_watch_ = loop_.at(deadline.when(), [this] { give_up(); });
}

void Launch::give_up() {
  if (verdict_ != Verdict::pending) return;
  LaunchError::Facts facts;
  facts.timed_out = true;
  const bool joined = request_.on_bus && request_.on_bus();
  facts.phase = joined ? Phase::start : Phase::boot;
  fail(std::move(facts), "not ready within " + readable_span(os::Clock::now() - began_) +
                             (joined ? " (phase start: it had joined the bus, on_start had not returned)"
                                     : " (phase boot: it ran, and had not joined the bus)") +
                             "; it was ended");
}

LaunchError Launch::error() const { return error_.value(); }

void Launch::release() {
  ready_watch_.stop();
  child_watch_.stop();
  (void)child_.try_reap();  // it may have ended already: then nobody else will
  child_.release();
  capture_.relay().release();
}

}  // namespace ipcm::launch
