#include "wire/fields.h"

#include <algorithm>
#include <array>
#include <string>

#include "ipcm/error.h"
#include "wire/json_check.h"
#include "wire/printable.h"
#include "wire/utf8.h"

namespace ipcm::wire {
namespace {

constexpr std::size_t kMostFields = 64;
constexpr std::size_t kLargestFields = 64UL * 1024;
constexpr std::size_t kPunctuation = 4;  // ,"":

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
  throw UsageError("the field '" + printable_name(name) + "' of a message can't be sent: " + why);
}

void check_name(const std::string& name) {
  if (name.empty()) refuse(name, "its name is empty");
  if (is_envelope_key(name) || name == "hello" || name.starts_with("ipcm_"))
    refuse(name, "the library uses that name");
  if (!is_utf8(name)) refuse(name, "its name is not UTF-8");
}

}  // namespace

bool is_envelope_key(std::string_view name) noexcept {
  constexpr std::array<std::string_view, 7> kKeys{"id",        "from",      "to",     "stamp",
                                                  "stamp_ord", "broadcast", "content"};
  return std::find(kKeys.begin(), kKeys.end(), name) != kKeys.end();
}

void check_fields(const Fields& fields) {
  if (fields.size() > kMostFields)
    throw UsageError("a message has at most 64 fields, not " + std::to_string(fields.size()));
  for (const auto& [name, value] : fields) {
    check_name(name);
    if (value.is_bytes()) refuse(name, "it is bytes");
    if (value.is_null()) refuse(name, "it is null");
    if (!is_ascii_json(value.json(), kDeepest - 1))
      refuse(name, "it is no JSON value, or is nested too deep");
  }
  if (const std::size_t size = size_of(fields); size > kLargestFields)
    throw UsageError("the fields of a message take at most 64 KiB, not " + std::to_string(size) + " bytes");
}

std::size_t size_of(const Fields& fields) noexcept {
  std::size_t size = 0;
  for (const auto& [name, value] : fields) size += name.size() + value.size() + kPunctuation;
  return size;
}

}  // namespace ipcm::wire
