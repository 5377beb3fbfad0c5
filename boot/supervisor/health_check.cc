#include "supervisor/health_check.h"

#include <utility>

#include "ipcm/error.h"
#include "launch/explain.h"
#include "service/service_runtime.h"

namespace ipcm::supervisor {

HealthCheck::HealthCheck(Service& service, const HealthPlan& plan, std::string child)
    : service_(service),
      plan_(plan),
      child_(std::move(child)),
      start_period_ends_(os::from_now(plan.start_period)) {
  rest();
}

HealthCheck::~HealthCheck() { forget_request(); }

void HealthCheck::forget_request() noexcept {
  if (request_.empty()) return;
  try {
    service_.forget_request(std::exchange(request_, {}));
  } catch (const std::exception&) {
    // The supervisor has left the bus: no answer comes any more.
  }
}

void HealthCheck::set_timer(Duration span) {
  is_due_ = false;
  timer_ = service_.runtime().loop().at(os::from_now(span), [this] {
    is_due_ = true;
    service_.runtime().wake();
  });
}

void HealthCheck::rest() {
  is_running_ = false;
  set_timer(plan_.interval);
}

void HealthCheck::begin() {
  is_running_ = true;
  response_.reset();
  set_timer(plan_.timeout);
  try {
    if (plan_.request.is_null()) return run_command();
    request_ = service_.send_request(child_, plan_.request, [this](const Response& response) {
      request_.clear();
      response_ = response.ok() ? std::string() : "its answer is an error: " + response.error();
      service_.runtime().wake();
    });
  } catch (const Error& error) {
    end((plan_.request.is_null() ? "its command can't be run: " : "") + std::string(error.what()));
  }
}

/// The command is looked up in $PATH each time: it may be installed later.
void HealthCheck::run_command() {
  command::Arguments arguments;
  arguments.argv = plan_.command;
  command_plan_ = command::make_plan(arguments, service_.info().text());
  if (!host_) host_ = std::make_unique<command::Host>(service_, command_plan_);
  program_ = std::make_unique<command::Program>(*host_, command_plan_.spawn, command::Program::Stdin::pipe);
  program_->close_input();
}

void HealthCheck::end(const std::string& failure) {
  last_failure_ = failure;
  if (failure.empty())
    failures_ = 0;
  else if (os::Clock::now() >= start_period_ends_)
    ++failures_;
  rest();
}

std::optional<std::string> HealthCheck::look() {
  if (!is_running_) {
    if (is_due_) begin();
  } else if (response_) {
    end(*response_);
  } else if (program_ && program_->has_ended()) {
    const auto ended = std::move(program_);
    const bool is_healthy = ended->status() && ended->status()->success();
    end(is_healthy ? "" : "its command " + ended->describe_end());
  } else if (is_due_) {
    end((program_ ? "its command did not end within " : "no answer within ") +
        launch::readable_span(plan_.timeout));
    program_.reset();
    forget_request();
  } else if (program_ && program_->has_too_much_output()) {
    (void)program_->take_output();  // only its status counts
  }
  if (failures_ < plan_.retries) return std::nullopt;
  return std::to_string(failures_) + (failures_ == 1 ? " health check" : " health checks") +
         " failed: " + last_failure_;
}

}  // namespace ipcm::supervisor
