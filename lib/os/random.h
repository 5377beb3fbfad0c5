#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ipcm::os {

/// 64 bits from a generator seeded by the kernel, anew in each process. For names and ids, not for secrets.
[[nodiscard]] std::uint64_t random_bits();
/// `length` letters and digits.
[[nodiscard]] std::string random_name(std::size_t length);
/// Upper-case UUID version 7 (RFC 9562): rises with time, to the millisecond.
[[nodiscard]] std::string make_uuid();
/// The same for who has asked for the time already.
[[nodiscard]] std::string make_uuid(std::chrono::system_clock::time_point now);

}  // namespace ipcm::os
