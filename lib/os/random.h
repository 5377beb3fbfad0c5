#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ipcm::os {

/// Returns 64 bits from a generator that each process seeds from the kernel. For names and ids, not for
/// secrets.
[[nodiscard]] std::uint64_t random_bits();
/// Returns `length` letters and digits.
[[nodiscard]] std::string random_name(std::size_t length);
/// Returns an upper-case UUID of version 7 (RFC 9562), which rises with time in steps of a millisecond.
[[nodiscard]] std::string make_uuid();
/// The same, for a caller that has already read the clock.
[[nodiscard]] std::string make_uuid(std::chrono::system_clock::time_point now);

}  // namespace ipcm::os
