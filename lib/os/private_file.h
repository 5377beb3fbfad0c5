#pragma once

#include <string>

namespace ipcm::os {

/// Makes an empty file of mode 0600 named `prefix` + six random letters + `suffix` below `parent`; returns its
/// path. Throws SystemError.
[[nodiscard]] std::string make_private_file(const std::string& parent, const std::string& prefix,
                                            const std::string& suffix);
/// Makes a directory of mode 0700, or finds it there. Throws SystemError.
void ensure_private_directory(const std::string& path);
/// Removes one file; not there: fine. false: it stayed.
bool remove_file(const std::string& path) noexcept;
/// A path from the root, without links, as the kernel sees it; the path itself where that can't be told.
[[nodiscard]] std::string real_path(const std::string& path);
/// Names this machine while it runs, and the numbering of processes on it: two processes for whom it is equal
/// mean the same process by the same pid.
[[nodiscard]] std::string process_numbering();

}  // namespace ipcm::os
