#include "ipcm/inspection.h"

#include <utility>

#include "bus/member.h"
#include "client/call.h"
#include "client/inspection_document.h"
#include "ipcm/error.h"
#include "ipcm/peer_info.h"
#include "os/time_limit.h"
#include "wire/printable.h"

namespace ipcm {
namespace {

std::string words_of(Duration span) {
  using std::chrono::milliseconds;
  const auto count = std::chrono::duration_cast<milliseconds>(span).count();
  return count % 1000 == 0 ? std::to_string(count / 1000) + " s" : std::to_string(count) + " ms";
}

/// Explains why a service is silent, as far as this can be seen.
std::string why_silent(const Client& client, const std::string& peer, Duration limit) {
  std::string reason = "it is busy or stopped";
  try {
    const auto info = peer_info(client, peer);
    if (info && info->process == PeerInfo::Process::stopped) reason = "its process is stopped";
    if (info && info->process == PeerInfo::Process::running) reason = "it is busy";
  } catch (const Error&) {
    // The bus may have been removed.
  }
  return "'" + wire::printable_name(peer) + "' does not answer within " + words_of(limit) + ": " + reason;
}

/// Waits for the answer of one service, and reads it. Throws what inspect() throws.
Inspection receive(const client::Call& call, const Client& client, const std::string& id,
                   const std::string& peer, os::Deadline deadline, Duration limit) {
  try {
    const Response response = call.requests().await(id, deadline);
    return client::read_inspection(response.content(), peer);
  } catch (const Timeout&) {
    call.requests().forget(id);
    throw Timeout(why_silent(client, peer, limit));
  }
}

/// Calls `what`, and notes the error that it throws.
template <class What>
void noted(Inspected& result, What&& what) {
  using Outcome = Inspected::Outcome;
  const auto note = [&](Outcome outcome, const Error& error) {
    result.outcome = outcome;
    result.why = error.what();
  };
  try {
    what();
  } catch (const Timeout& error) {
    note(Outcome::silent, error);
  } catch (const PeerGone& error) {
    note(Outcome::gone, error);
  } catch (const BusError&) {
    throw;
  } catch (const Error& error) {
    note(Outcome::refused, error);
  }
}

}  // namespace

Inspection inspect(Client& client, std::string_view name, Duration limit) {
  const client::Call call(client.shared_requests());
  call->expect_usable();
  const auto deadline = os::Deadline::limit(limit);
  const os::TimeLimit scope(deadline);
  const std::string peer(name);
  const std::string id = call.requests().send_inspection(peer);
  return receive(call, client, id, peer, deadline, limit);
}

std::map<std::string, Inspected> inspect_all(Client& client, const std::vector<std::string>& names,
                                             Duration limit) {
  const client::Call call(client.shared_requests());
  call->expect_usable();
  const auto deadline = os::Deadline::limit(limit);
  const os::TimeLimit scope(deadline);
  std::map<std::string, Inspected> all;
  std::map<std::string, std::string> ids;  // by name
  for (const std::string& name : names)
    noted(all[name], [&] { ids.emplace(name, call.requests().send_inspection(name)); });
  for (const auto& [name, id] : ids) {
    Inspected& result = all[name];
    noted(result, [&, &peer = name, &request = id] {
      result.facts = receive(call, client, request, peer, deadline, limit);
      result.outcome = Inspected::Outcome::answered;
    });
  }
  return all;
}

}  // namespace ipcm
