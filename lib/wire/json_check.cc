#include "wire/json_check.h"

namespace ipcm::wire {

bool is_ascii_json(std::string_view text, std::size_t deepest) noexcept {
  detail::JsonScanner scanner(text, deepest);
  detail::Nobody nobody;
  return scanner.document(nobody) && scanner.is_ascii();
}

}  // namespace ipcm::wire
