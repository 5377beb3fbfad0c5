#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace ipcm::os {

/// Lets the heap keep up to eight mebibytes at its end for the next time, where glibc gives back all beyond
/// 128 KiB with each free(): for who takes in and sends off messages of a mebibyte, again and again, and
/// would have each page cleared anew for each. Once in a process; nothing is taken by it.
void keep_heap() noexcept;

/// A string of these bytes. Large ones are copied in steps: as a whole, glibc's memcpy has the processor do
/// it by microcode (rep movsb), which on AMD's Zen takes twenty times as long where the target's place within
/// its page is less than 32 bytes behind the source's (64 KiB: 34 µs, in steps 5, both 1.6 elsewhere).
[[nodiscard]] std::string copy_of(std::string_view bytes);
/// The same, and `look` sees each piece of the copy, none of them empty, right after it was made.
[[nodiscard]] std::string copy_of(std::string_view bytes, const std::function<void(std::string_view)>& look);
/// The same to `into`, which has room for them.
void copy_to(char* into, std::string_view bytes) noexcept;

}  // namespace ipcm::os
