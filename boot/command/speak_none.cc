// speak "none": the program just runs. Its stdout and stderr go to the log of the service. Requests get an error.

#include "command/kept_program.h"
#include "command/speaker.h"
#include "ipcm/error.h"

namespace ipcm::command {
namespace {

class None final : public Speaker {
 public:
  explicit None(Host& host)
      : host_(host),
        kept_(host, Program::Stdin::inherited, [&host](const std::string& why) { host.complain(why); }) {}

  void start() override { kept_.start(); }

  bool is_ready() override {
    if (kept_.state() == KeptProgram::State::failed) throw Error(kept_.why());
    is_serving_ = kept_.state() != KeptProgram::State::starting;
    return is_serving_;
  }

  void receive(Request&& request) override {
    host_.fail(request, naming(host_.plan()) + " does not answer requests (speak is 'none')");
  }

  void process() override {
    kept_.process();
    if (kept_.state() == KeptProgram::State::ready) {
      Program& program = kept_.program();
      host_.output_log().write(program.output());
      program.drop_output(program.output().size());
    }
    // The service of a program that runs to completion stays, as the sign that this has happened.
    if (is_serving_ && kept_.state() == KeptProgram::State::over &&
        host_.plan().ready.kind != ReadyWhen::Kind::exit)
      host_.end_service(kept_.status() ? kept_.status()->shell_status() : 0);
  }

 private:
  Host& host_;
  KeptProgram kept_;
  bool is_serving_ = false;
};

}  // namespace

std::unique_ptr<Speaker> speak_none(Host& host) { return std::make_unique<None>(host); }

}  // namespace ipcm::command
