#include "transport/protocols.h"

#include "ipcm/error.h"
#include "transport/atomic_pipe/protocol.h"
#include "transport/connection_unix/protocol.h"
#include "transport/database/protocols.h"
#include "transport/json_file/protocol.h"
#include "transport/local_memory/protocol.h"
#include "transport/message_files/protocol.h"
#include "transport/unix_socket/protocol.h"

namespace ipcm::transport {

const std::vector<const Protocol*>& protocols() {
  static const std::vector<const Protocol*> all = {
      &connection_unix_protocol(),   &database::sqlite_protocol(), &database::postgresql_protocol(),
      &database::mariadb_protocol(), &database::mysql_protocol(),  &message_files_protocol(),
      &json_file_protocol(),         &local_memory_protocol(),     &unix_socket_protocol(),
      &atomic_pipe_protocol(),
  };
  return all;
}

const Protocol& find_protocol(const std::string& name) {
  std::string known;
  for (const Protocol* protocol : protocols()) {
    if (name == protocol->name()) return *protocol;
    known.append(known.empty() ? "" : ", ").append(protocol->name());
  }
  throw BusError("unknown protocol '" + name + "'; this build has: " + known);
}

void expect_no_url(const std::string& route) {
  const auto scheme = route.find("://");
  if (scheme == route.npos || route.find('/') != scheme + 1) return;
  throw BusError(
      "the route of a bus is no URL: it is a directory or a file, or for a server dbi:NAME:key=value;… or "
      "key=value "
      "pairs; user and password are given as credentials, or in $IPCM_DB_USER and $IPCM_DB_PASSWORD");
}

}  // namespace ipcm::transport
