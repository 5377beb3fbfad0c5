#include "command/pattern.h"

#include <regex.h>

#include <array>

#include "ipcm/error.h"
#include "wire/printable.h"

namespace ipcm::command {

struct Pattern::Compiled {
  regex_t regex{};
  bool is_valid = false;
  Compiled() = default;
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  ~Compiled() {
    if (is_valid) ::regfree(&regex);
  }
};

Pattern::Pattern(const std::string& expression) : compiled_(std::make_unique<Compiled>()) {
  constexpr std::size_t kLongest = 1000;
  if (expression.size() > kLongest) throw UsageError("a regular expression has at most 1000 characters");
  if (const int error = ::regcomp(&compiled_->regex, expression.c_str(), REG_EXTENDED | REG_NOSUB);
      error != 0) {
    std::array<char, 128> why{};
    (void)::regerror(error, &compiled_->regex, why.data(), why.size());
    throw UsageError("'" + wire::printable_name(expression) +
                     "' is no extended regular expression: " + why.data());
  }
  compiled_->is_valid = true;
}

Pattern::Pattern(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

bool Pattern::matches(const std::string& line) const {
  return ::regexec(&compiled_->regex, line.c_str(), 0, nullptr, 0) == 0;
}

}  // namespace ipcm::command
