#include "service/credentials.h"

#include <cstdlib>
#include <cstring>

#include "transport/protocols.h"

namespace ipcm::service {

bool needs_credentials(const BusInfo& info) {
  return transport::find_protocol(info.protocol).has_credentials();
}

void take_credentials(BusInfo& info) {
  const auto take = [&](const char* variable, std::string& into) {
    char* const value = std::getenv(variable);
    if (value == nullptr) return;
    if (into.empty() && needs_credentials(info)) into = value;
    ::explicit_bzero(value, std::strlen(value));  // /proc shows where it stood
    ::unsetenv(variable);
  };
  take("IPCM_DB_USER", info.credentials.user);
  take("IPCM_DB_PASSWORD", info.credentials.password);
}

}  // namespace ipcm::service
