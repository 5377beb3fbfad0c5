#pragma once

namespace ipcm::os {

/// Lets the heap keep up to eight mebibytes at its end for the next time, where glibc gives back all beyond
/// 128 KiB with each free(): for who takes in and sends off messages of a mebibyte, again and again, and
/// would have each page cleared anew for each. Once in a process; nothing is taken by it.
void keep_heap() noexcept;

}  // namespace ipcm::os
