#include "transport/presence/statistics_file.h"

#include "ipcm/content.h"
#include "ipcm/error.h"

namespace ipcm::transport {
namespace {

struct Document {
  Statistics value;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(optional("sent", value.sent), optional("read", value.read));
  }
};

}  // namespace

std::string write_statistics(const Statistics& statistics) {
  JsonWriter writer;
  writer(Document{statistics});
  return writer.take();
}

Statistics read_statistics(std::string_view text) {
  try {
    return Content::json(text).as<Document>("statistics").value;
  } catch (const Error&) {
    return {};  // incomplete, or not written by a peer
  }
}

std::string write_statistics(const Statistics& statistics, const wire::Serializer& serializer) {
  return serializer.write_value(write_statistics(statistics));
}

Statistics read_statistics(std::string_view bytes, const wire::Serializer& serializer) {
  try {
    return read_statistics(serializer.read_value(bytes));
  } catch (const ProtocolError&) {
    return read_statistics(bytes);
  }
}

}  // namespace ipcm::transport
