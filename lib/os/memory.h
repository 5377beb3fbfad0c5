#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace ipcm::os {

/// Lets the heap keep up to 8 MiB of free memory at its end. By default, glibc returns all beyond 128 KiB to
/// the kernel with each free(): a process that repeatedly receives and sends messages of a mebibyte would
/// have each page cleared again for each message. Has an effect once in a process; reserves nothing.
void keep_heap() noexcept;

/// Returns a string with these bytes. Large ones are copied in steps: for a large copy, glibc's memcpy uses
/// the processor's microcode (rep movsb), which on AMD's Zen takes twenty times as long if the target's
/// offset within its page is less than 32 bytes after the source's (64 KiB: 34 µs, in steps 5 µs; otherwise
/// both 1.6 µs).
[[nodiscard]] std::string copy_of(std::string_view bytes);
/// The same; calls `look` with each piece of the copy right after it was made. No piece is empty.
[[nodiscard]] std::string copy_of(std::string_view bytes, const std::function<void(std::string_view)>& look);
/// The same into the memory at `into`, which the caller provides.
void copy_to(char* into, std::string_view bytes) noexcept;

}  // namespace ipcm::os
