#pragma once

#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exit_status.h"
#include "ipcm/requester.h"
#include "line_reader.h"
#include "loop/loop.h"
#include "options.h"
#include "os/clock.h"

namespace ipcm::launcher {

/// Many requests to one peer, of which some are open at the same time, and their answers in the order of the requests.
///
/// Each line of stdin gets exactly one line of stdout, so that a caller can match them by counting: the answer, or if there
/// is none, an empty line and the error on stderr. With --json, the line is then an object that describes the error. This
/// holds until the end of stdin, even after the peer has died. A blank line is no request and gets an empty line.
class Asking {
 public:
  /// Sends a request; the callback gets its response while the loop turns.
  using Send = std::function<void(const Content& request, ResponseCallback callback)>;
  /// The limit of open requests: enough to keep both sides busy, few enough to bound memory.
  static constexpr std::size_t kWindow = 256;

  /// `options` and `loop` are borrowed. Without `requests`, reads them from stdin, a JSON value a line. At most `most` are open.
  Asking(const Options& options, Loop& loop, std::string peer, std::vector<Content> requests,
         std::size_t most, Send send);

  /// Sends the requests and prints the answers, until all are done or stop() was called. Throws OutputLost, and the error of
  /// stdin if it can't be read.
  void ask_all();
  /// Ends ask_all(), for a callback of the loop.
  void stop() { stopped_ = true; }

  /// Returns the status of the first request without an answer.
  [[nodiscard]] Status status() const { return status_; }
  [[nodiscard]] std::size_t asked() const { return asked_; }
  [[nodiscard]] std::size_t answered() const { return answered_; }

 private:
  /// A request, from the time it is read until its answer is printed.
  struct Slot {
    std::size_t number = 0;  // of the request or of its line of stdin, from 1
    std::size_t bytes = 0;
    std::optional<Response> response = {};
    std::exception_ptr failed = {};  // the error, if there is no answer
    bool blank = false;              // a blank line is no request
    os::Deadline deadline = os::Deadline::never();

    [[nodiscard]] bool is_over() const { return response || failed || blank; }
  };
  using SharedSlot = std::shared_ptr<Slot>;

  [[nodiscard]] std::string naming(const Slot& slot) const;
  [[nodiscard]] bool has_room() const;
  void send_more();
  SharedSlot add_slot();
  void ask(const SharedSlot& slot, const Content& request);
  bool read_line();
  bool print_ready();
  void print(const Slot& slot);
  void tell_failure(const Slot& slot);

  const Options& options_;
  Loop& loop_;
  std::string peer_;
  std::deque<Content> requests_;
  bool from_stdin_;
  std::size_t most_;
  Send send_;
  std::optional<LineReader> lines_;
  std::deque<SharedSlot> slots_;
  std::size_t bytes_ = 0, asked_ = 0, answered_ = 0;
  std::exception_ptr input_lost_;
  Status status_ = Status::done;
  bool stopped_ = false, over_ = false, has_gone_ = false;
};

}  // namespace ipcm::launcher
