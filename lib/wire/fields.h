#pragma once

#include <cstddef>
#include <string_view>

#include "ipcm/message.h"

namespace ipcm::wire {

/// Returns whether a name stands for a part of Message on the wire.
[[nodiscard]] bool is_envelope_key(std::string_view name) noexcept;
/// Throws UsageError for fields that no message may have (ipcm/message.h).
void check_fields(const Fields& fields);
/// Returns the approximate size of the fields as JSON text.
[[nodiscard]] std::size_t size_of(const Fields& fields) noexcept;

}  // namespace ipcm::wire
