#pragma once

#include <string>
#include <string_view>

namespace ipcm::service {

/// One line on stderr, of a process that is a service: "ipcm: service 'echo': SENTENCE". Printable, bounded,
/// and in one write, so that lines of several processes don't mix. A stderr that takes nothing for a second
/// loses the line: nobody's log may hold up a service.
void complain(std::string_view service, std::string_view sentence) noexcept;
/// The same with another beginning: "ipcm: ABOUT: SENTENCE".
void complain_about(std::string_view about, std::string_view sentence) noexcept;
/// The same with yet another: "PROGRAM: SENTENCE".
void tell(std::string_view program, std::string_view sentence) noexcept;

}  // namespace ipcm::service
