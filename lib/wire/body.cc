#include "wire/body.h"

#include "os/memory.h"
#include "wire/utf8.h"

namespace ipcm::wire {

Body Body::copy_of(std::string_view bytes) {
  enum class Seen { nothing, opened, closed, something_else } seen = Seen::nothing;
  Body body(os::copy_of(bytes, [&seen](std::string_view piece) {
    if (seen == Seen::nothing && piece.front() == '"') {
      seen = Seen::opened;
      piece.remove_prefix(1);
    }
    if (seen != Seen::opened) {
      seen = Seen::something_else;  // also if bytes follow the end
      return;
    }
    const char* const end = piece.data() + piece.size();
    const char* const stop = skip_plain(piece.data(), end);
    if (stop != end) seen = stop + 1 == end && *stop == '"' ? Seen::closed : Seen::something_else;
  }));
  body.is_plain_string = seen == Seen::closed;
  return body;
}

}  // namespace ipcm::wire
