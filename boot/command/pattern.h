#pragma once

#include <memory>
#include <string>

namespace ipcm::command {

/// A POSIX extended regular expression. (std::regex recurses for each character: a long line would end the process.)
class Pattern {
 public:
  /// Throws UsageError for a wrong expression.
  explicit Pattern(const std::string& expression);
  Pattern(Pattern&&) noexcept;
  ~Pattern();
  /// Whether a part of the line matches.
  [[nodiscard]] bool matches(const std::string& line) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace ipcm::command
