// ipcm inspect: asks a service for its facts.

#include <algorithm>
#include <cmath>

#include "commands/commands.h"
#include "ipcm/inspection.h"
#include "peer_list.h"
#include "report.h"
#include "wire/printable.h"

namespace ipcm::launcher {
namespace {

std::string ago(Inspection::TimePoint point) {
  const std::chrono::duration<double> span = std::chrono::system_clock::now() - point;
  return readable_age(std::max(span.count(), 0.0)) + " ago";
}

std::string listed(const std::vector<Inspection::Process>& processes) {
  std::string text;
  for (const auto& [name, pid] : processes)
    text +=
        (text.empty() ? "" : ", ") + wire::printable_name(name) + " (process " + std::to_string(pid) + ")";
  return text;
}

void print(const Inspection& facts) {
  const auto number_of = [](std::uint64_t count) { return std::to_string(count); };
  std::vector<std::vector<std::string>> rows = {
      {"NAME", wire::printable_name(facts.name)},
      {"CLASS", facts.class_name.empty() ? "-" : wire::printable_name(facts.class_name)},
      {"PID", std::to_string(facts.pid)}};
  if (facts.started) rows.push_back({"STARTED", ago(*facts.started)});
  if (facts.ready) rows.push_back({"READY", ago(*facts.ready)});
  rows.push_back({"REQUESTS", number_of(facts.requests.answered) + " answered, " +
                                  number_of(facts.requests.failed) + " failed, " +
                                  number_of(facts.requests.open) + " open"});
  rows.push_back({"MESSAGES", number_of(facts.messages.received) + " received, " +
                                  number_of(facts.messages.sent) + " sent, " +
                                  number_of(facts.messages.waiting) + " waiting"});
  rows.push_back({"PARAMETERS", facts.parameters.is_null() ? "secret" : facts.parameters.readable()});
  if (!facts.services.empty()) rows.push_back({"SERVICES", listed(facts.services)});
  if (!facts.workers.empty()) rows.push_back({"WORKERS", listed(facts.workers)});
  if (facts.last_failure)
    rows.push_back({"LAST FAILURE", ago(facts.last_failure->time) + ": " + facts.last_failure->text});
  print_table(rows);
}

/// Prints what the bus and the kernel show of a service that does not answer.
void print_outer_facts(const Options& options, const Client& client) {
  std::optional<PeerInfo> info;
  try {
    info = peer_info(client, options.name);
  } catch (const Error&) {
    return;  // no time is left for a look at a shared store, say
  }
  if (!info) return;
  const Inspected silent{Inspected::Outcome::silent, {}, {}};
  if (options.json) return print_json(json_of_peer(*info, silent));
  PeerList list;
  list.peers.push_back(*info);
  list.pings.emplace(options.name, silent);
  print_table(rows_of(list));
}

}  // namespace

int inspect(const Options& options) {
  Client client = visit(options);
  try {
    const Inspection facts = ipcm::inspect(client, options.name, options.limit(kInspectionLimit));
    if (options.json)
      print_json(facts.document.readable());
    else
      print(facts);
  } catch (const PeerGone& gone) {
    suggest_peer(gone, client);
  } catch (const UsageError& error) {
    throw UsageError(std::string(error.what()) + "; `ipcm ps` shows what is known of it");
  } catch (const Timeout&) {
    print_outer_facts(options, client);
    flush_output();
    throw;
  }
  return number(Status::done);
}

}  // namespace ipcm::launcher
