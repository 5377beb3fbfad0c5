#include "wire/serializer.h"

#include <utility>

#include "ipcm/error.h"
#include "wire/cereal_serializer.h"
#include "wire/envelope.h"
#include "wire/json_text.h"
#include "wire/zstd_serializer.h"

namespace ipcm::wire {
namespace {

class JsonSerializer final : public Serializer {
 public:
  [[nodiscard]] const char* name() const override { return "JSON"; }
  [[nodiscard]] EncodedMessage write_slices(const Message& message,
                                            const ContentSlices& content) const override {
    return write_envelope(message, content);
  }
  void append(std::string& into, const Message& message, const ContentSlices& content) const override {
    append_envelope(into, message, content);
  }
  [[nodiscard]] Message read(std::string_view bytes, std::string_view receiver) const override {
    return read_envelope(bytes, receiver);
  }
  [[nodiscard]] IncomingMessage decode(std::string_view bytes, std::string_view receiver) const override {
    return decode_envelope(bytes, receiver);
  }
  [[nodiscard]] IncomingMessage decode_slices(std::string_view head, Body body, std::string_view tail,
                                              std::string_view receiver) const override {
    if (auto incoming = decode_envelope(head, body, tail, receiver)) return std::move(*incoming);
    return Serializer::decode_slices(head, std::move(body), tail, receiver);
  }
  [[nodiscard]] bool is_spoken(std::string_view bytes) const override {
    return bytes.starts_with('{') && bytes.ends_with('}');
  }
  [[nodiscard]] std::string write_value(std::string_view json) const override { return std::string(json); }
  [[nodiscard]] std::string read_value(std::string_view bytes) const override {
    return Content::json(bytes).json();
  }
};

using Factory = std::shared_ptr<const Serializer> (*)(const BusInfo& info);

std::shared_ptr<const Serializer> make_json(const BusInfo& info) {
  if (!info.serializer_options.empty())
    throw BusError("serializer 'JSON' has no option '" + info.serializer_options.begin()->first + "'");
  static const auto shared = std::make_shared<const JsonSerializer>();
  return shared;
}

// To add one: its file beside this one, and a line here.
constexpr std::pair<const char*, Factory> kSerializers[] = {
    {"JSON", &make_json},
#ifdef IPCM_HAS_ZSTD
    {"JSON::Zstd", &make_json_zstd},
#endif
    {"Cereal", &make_cereal},
};

}  // namespace

std::string Serializer::write(const Message& message) const {
  return write_slices(message, ContentSlices::of(message.content)).take();
}

std::string Serializer::write_content(const Content& content) const {
  if (content.is_bytes()) refuse_bytes();
  return write_value(content.json());
}

Content Serializer::read_content(std::string_view bytes) const {
  return Content::trusted_json(read_value(bytes));  // which has checked it
}

IncomingMessage Serializer::decode_slices(std::string_view head, Body body, std::string_view tail,
                                          std::string_view receiver) const {
  if (!head.empty()) body.bytes.insert(0, head);
  return decode(body.bytes.append(tail), receiver);
}

std::shared_ptr<const Serializer> make_serializer(const BusInfo& info) {
  std::string known;
  for (const auto& [name, make] : kSerializers) {
    if (info.serializer == name) return make(info);
    known.append(known.empty() ? "" : ", ").append(name);
  }
#ifndef IPCM_HAS_ZSTD
  if (info.serializer == "JSON::Zstd")
    throw BusError("serializer 'JSON::Zstd' is not part of this build (meson option zstd); it has: " + known);
#endif
  throw BusError("unknown serializer '" + info.serializer + "'; this build has: " + known);
}

std::vector<std::string> known_serializers() {
  std::vector<std::string> names;
  for (const auto& [name, make] : kSerializers) names.emplace_back(name);
  return names;
}

}  // namespace ipcm::wire
