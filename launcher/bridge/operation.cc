#include "bridge/operation.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include "bridge/base64.h"
#include "ipcm/error.h"
#include "ipcm/json_archive.h"
#include "wire/nearest.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

using Kind = Operation::Kind;

constexpr std::size_t kLongestId = 1024;
constexpr int kHighestStatus = 255;

/// The keys of a line, as bits.
enum Key : unsigned {
  kTo = 1,
  kContent = 2,
  kTimeout = 4,
  kRequest = 8,
  kError = 16,
  kExpires = 32,
  kStatus = 64,
};

struct Shape {
  const char* name;
  Kind kind;
  unsigned needs;
  unsigned may_have;
};
constexpr Shape kShapes[] = {
    {"request", Kind::request, kTo | kContent, kTimeout},
    {"send", Kind::send, kTo | kContent, 0},
    {"broadcast", Kind::broadcast, kContent, 0},
    {"answer", Kind::answer, kRequest | kContent, 0},
    {"error", Kind::error, kRequest | kError, 0},
    {"peers", Kind::peers, 0, 0},
    {"watch", Kind::watch, 0, 0},
    {"ready", Kind::ready, 0, 0},
    {"fail", Kind::fail, kError, 0},
    {"suspend", Kind::suspend, 0, kExpires},
    {"reconnect", Kind::reconnect, 0, 0},
    {"leave", Kind::leave, 0, kStatus},
};
constexpr std::pair<const char*, Key> kKeys[] = {
    {"to", kTo},       {"content", kContent}, {"bytes", kContent},   {"timeout", kTimeout},
    {"error", kError}, {"request", kRequest}, {"expires", kExpires}, {"status", kStatus},
};

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShown = 60;
  return "'" + wire::printable(text, kShown) + "'";
}

template <class Number>
Number number_of(const char* key, std::string_view raw, Number least, Number most) {
  Number number{};
  const auto read = std::from_chars(raw.data(), raw.data() + raw.size(), number);
  if (read.ec != std::errc() || read.ptr != raw.data() + raw.size() || !(number >= least && number <= most))
    throw UsageError("'" + std::string(key) + "' is no number that is possible there: " + in_quotes(raw));
  return number;
}

Duration seconds_of(const char* key, std::string_view raw) {
  constexpr double kMost = 1e8;  // three years
  const double seconds = number_of<double>(key, raw, 0.0, 1e300);
  const std::chrono::duration<double> span(std::min(seconds, kMost));
  return std::max(std::chrono::duration_cast<Duration>(span), Duration(1));
}

/// Collects the members of a line.
class Reader {
 public:
  Reader(Operation& operation, Echo& echo) : operation_(operation), echo_(echo) {}

  /// `raw`: the JSON text of the value.
  void member(const std::string& key, std::string raw) {
    if (key == "id") {
      if (raw.size() > kLongestId) throw UsageError("'id' has more than 1024 bytes");
      echo_.id = std::move(raw);
      return;
    }
    if (key == "op") {
      echo_.op = wire::printable_name(text_of("op", std::move(raw)));
      return;
    }
    for (const auto& [name, bit] : kKeys)
      if (key == name) return value(name, bit, std::move(raw));
    if (unknown_.empty()) unknown_ = key;
  }

  void finish() {
    const Shape& shape = find_shape();
    operation_.kind = shape.kind;
    if (!unknown_.empty()) refuse_key(shape, unknown_);
    for (const auto& [name, bit] : kKeys) {
      if ((has_ & bit) != 0 && ((shape.needs | shape.may_have) & bit) == 0) refuse_key(shape, name);
      if ((shape.needs & bit) != 0 && (has_ & bit) == 0)
        throw UsageError(std::string("the operation '") + shape.name + "' needs the key '" + name + "'");
    }
  }

 private:
  static std::string text_of(const char* key, std::string raw) {
    if (!raw.starts_with('"')) throw UsageError("'" + std::string(key) + "' is no string");
    return Content::trusted_json(std::move(raw)).as<std::string>();
  }

  void value(const char* key, Key bit, std::string raw) {
    if ((has_ & bit) != 0) throw UsageError("content and bytes are two contents; one is enough");
    has_ |= bit;
    switch (bit) {
      case kTo:
        operation_.to = text_of(key, std::move(raw));
        break;
      case kError:
        operation_.error = text_of(key, std::move(raw));
        break;
      case kContent:
        operation_.content = std::string_view(key) == "bytes"
                                 ? Content::bytes(from_base64(text_of(key, std::move(raw))))
                                 : Content::json(raw);
        break;
      case kTimeout:
        operation_.timeout = seconds_of(key, raw);
        break;
      case kExpires:
        operation_.expires = seconds_of(key, raw);
        break;
      case kRequest:
        operation_.request = number_of<std::uint64_t>(key, raw, 0, UINT64_MAX);
        break;
      case kStatus:
        operation_.status = number_of<int>(key, raw, 0, kHighestStatus);
        break;
    }
  }

  [[nodiscard]] const Shape& find_shape() const {
    if (echo_.op.empty()) throw UsageError("the line has no 'op'");
    std::vector<std::string> names;
    for (const Shape& shape : kShapes) {
      if (echo_.op == shape.name) return shape;
      names.emplace_back(shape.name);
    }
    throw UsageError("there is no operation " + in_quotes(echo_.op) + wire::did_you_mean(echo_.op, names));
  }

  [[noreturn]] static void refuse_key(const Shape& shape, const std::string& key) {
    std::vector<std::string> names = {"id"};
    for (const auto& [name, bit] : kKeys)
      if (((shape.needs | shape.may_have) & bit) != 0) names.emplace_back(name);
    throw UsageError(std::string("the operation '") + shape.name + "' has no key " + in_quotes(key) +
                     wire::did_you_mean(key, names));
  }

  Operation& operation_;
  Echo& echo_;
  unsigned has_ = 0;
  std::string unknown_;
};

/// Reads the id of a line that is no JSON, for the error: it is found if it is the first key and has no comma.
void read_first_id(std::string_view line, Reader& reader) {
  try {
    const std::string first = std::string(line.substr(0, std::min(line.find(','), kLongestId))) + "}";
    JsonReader json(first, "the line", JsonReader::UnknownKeys::ignored);
    json.open();
    json.expect_object();
    if (json.next_key() != "id") return;
    std::string raw;
    json.name_next("id");
    json.raw(raw);
    reader.member("id", std::move(raw));
  } catch (const Error&) {
    // The line has no id.
  }
}

}  // namespace

Operation read_operation(std::string_view line, Echo& echo) {
  Operation operation;
  Reader reader(operation, echo);
  try {
    JsonReader json(line, "the line", JsonReader::UnknownKeys::ignored);
    json.open();
    json.expect_object();
    for (std::size_t left = json.size(); left > 0; --left) {
      const std::string key = json.next_key();
      std::string raw;
      json.name_next(key);
      json.raw(raw);
      reader.member(key, std::move(raw));
    }
    json.close();
  } catch (const ProtocolError& error) {
    if (echo.id.empty()) read_first_id(line, reader);
    throw UsageError(error.what());
  }
  reader.finish();
  return operation;
}

}  // namespace ipcm::launcher
