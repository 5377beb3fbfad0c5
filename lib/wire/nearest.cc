#include "wire/nearest.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "wire/printable.h"

namespace ipcm::wire {
namespace {

/// Longer words are not compared: they are no typing mistakes, and the time grows with the square of the
/// length.
constexpr std::size_t kLongest = 64;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// Returns how many letters must be changed, added, removed, or exchanged with their neighbour.
std::size_t distance(std::string_view a, std::string_view b) {
  std::array<std::array<std::size_t, kLongest + 1>, 3> rows{};
  for (std::size_t j = 0; j <= b.size(); ++j) rows[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto& row = rows[i % 3];
    const auto& above = rows[(i + 2) % 3];
    const auto& above_that = rows[(i + 1) % 3];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
        row[j] = std::min(row[j], above_that[j - 2] + 1);
    }
  }
  return rows[a.size() % 3][b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.empty() || word.size() > kLongest) return {};
  const std::size_t most = std::max<std::size_t>(1, word.size() / 3);
  std::string best;
  std::size_t least = most + 1;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongest || candidate == word) continue;
    const std::size_t apart = distance(word, candidate);
    // A word of one letter has one wrong letter compared with any other.
    if (apart >= least || apart >= std::max(word.size(), candidate.size())) continue;
    least = apart;
    best = candidate;
  }
  if (best.empty() && word.size() >= 2)
    for (const std::string& candidate : candidates)
      if (candidate.size() > word.size() && candidate.starts_with(word)) return candidate;
  return best;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string near = nearest(word, candidates);
  return near.empty() ? std::string() : " (did you mean '" + printable_name(near) + "'?)";
}

}  // namespace ipcm::wire
