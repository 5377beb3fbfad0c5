// speak "per-request": each request starts a program of its own. It gets the JSON of the request on stdin, and its stdout
// is the answer. A status other than 0 makes an error.

#include <list>
#include <utility>

#include "command/payload.h"
#include "command/program.h"
#include "command/speaker.h"
#include "command/waiting_requests.h"
#include "ipcm/error.h"
#include "launch/explain.h"

namespace ipcm::command {
namespace {

class PerRequest final : public Speaker {
 public:
  explicit PerRequest(Host& host) : host_(host), plan_(host.plan()), waiting_(plan_.queue) {}

  void start() override {}
  bool is_ready() override { return true; }

  void receive(Request&& request) override {
    if (jobs_.size() < plan_.jobs)
      begin(std::move(request));
    else if (!waiting_.put(request))
      host_.fail(request, waiting_.refusal());
  }

  void process() override {
    for (auto job = jobs_.begin(); job != jobs_.end();) {
      look_at(*job);
      job = job->program->has_ended() ? jobs_.erase(job) : std::next(job);
    }
    while (jobs_.size() < plan_.jobs && !waiting_.empty()) begin(waiting_.take());
  }

 private:
  struct Job {
    Request request;
    std::unique_ptr<Program> program = {};
    Watch timer = {};
    bool is_late = false, is_answered = false;
  };

  void begin(Request&& request) {
    Job& job = jobs_.emplace_back(Job{std::move(request)});
    try {
      std::string text = text_for_program(std::move(job.request).take(), plan_.raw);
      text.push_back('\n');
      job.program = std::make_unique<Program>(host_, plan_.spawn, Program::Stdin::pipe);
      job.program->write(std::move(text));
      job.program->close_input();
      if (plan_.timeout != kNoLimit)
        job.timer = host_.loop().at(os::from_now(plan_.timeout), [this, &job] {
          job.is_late = true;
          host_.wake();
        });
    } catch (const Error& error) {
      host_.fail(job.request, error.what());
      jobs_.pop_back();
    }
  }

  void look_at(Job& job) {
    if (job.is_answered) return;
    Program& program = *job.program;
    if (program.has_too_much_output())
      fail(job,
           "printed more than " + std::to_string(plan_.max_output) + " bytes (max_output), and was ended");
    else if (program.has_ended())
      finish(job);
    else if (job.is_late)
      fail(job, "did not end within " + launch::readable_span(plan_.timeout) + " (timeout), and was ended" +
                    program.last_words());
  }

  void fail(Job& job, const std::string& why) {
    job.is_answered = true;
    host_.fail(job.request, naming(plan_) + " " + why);
    job.program->stop();
  }

  void finish(Job& job) {
    if (!job.program->status() || !job.program->status()->success())
      return fail(job, job.program->describe_end());
    try {
      job.is_answered = true;
      host_.answer(job.request, answer_of_program(job.program->output(), plan_.raw));
    } catch (const Error& error) {
      fail(job, error.what() + job.program->last_words());
    }
  }

  Host& host_;
  const Plan& plan_;
  WaitingRequests waiting_;
  std::list<Job> jobs_;  // a list: timers refer to its elements
};

}  // namespace

std::unique_ptr<Speaker> speak_per_request(Host& host) { return std::make_unique<PerRequest>(host); }

}  // namespace ipcm::command
