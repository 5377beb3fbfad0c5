#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "ipcm/bus_info.h"
#include "supervisor/child.h"

namespace ipcm::supervisor {

/// The facts about a child that the next supervisor of the same name needs to adopt it: a JSON object in the file of
/// ipcm/service_parameters.h.
struct ChildRecord {
  std::string supervisor;  ///< the name of the one that has written it
  std::string class_name, boot;
  Content args;
  std::string state;                         ///< as to_string(State)
  Pid pid = 0;                               ///< the process that was made for it; 0: there is none
  double started = 0;                        ///< the start of that process, Unix seconds
  Pid service = 0;                           ///< the process that holds its name on the bus; 0: not known yet
  std::uint64_t restarts = 0, failures = 0;  ///< failures: n of its next delay
  std::string last_end;
  bool stays_down = false;  ///< it is being stopped, and is not to start again

  /// Whether the process of the record is one that this plan would start.
  [[nodiscard]] bool describes(const ChildPlan& plan) const;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::make_nvp("supervisor", supervisor), cereal::make_nvp("class", class_name),
            cereal::make_nvp("boot", boot), cereal::make_nvp("state", state), cereal::make_nvp("pid", pid),
            cereal::make_nvp("started", started), cereal::make_nvp("service", service),
            cereal::make_nvp("restarts", restarts), cereal::make_nvp("failures", failures),
            cereal::make_nvp("last_end", last_end), cereal::make_nvp("stays_down", stays_down));
    if constexpr (Archive::is_loading::value)
      archive(optional("args", args));
    else if (!args.is_null())
      archive(cereal::make_nvp("args", args));
  }
};

/// The records of the children of one supervisor.
class ChildRecords {
 public:
  ChildRecords(BusInfo bus, std::string supervisor)
      : bus_(std::move(bus)), supervisor_(std::move(supervisor)) {}
  /// Writes the record of a child if it has changed. `pid`, `service`: as in ChildRecord. Throws SystemError, BusError.
  void keep(const Child& child, Pid pid, Pid service);
  /// Returns the record that a supervisor of this name has written; nullopt: there is none. Throws SystemError.
  [[nodiscard]] std::optional<ChildRecord> read(const std::string& child) const;
  void forget(const std::string& child) noexcept;

 private:
  struct Kept {
    State state = State::waiting;
    Pid pid = 0, service = 0;
    std::uint64_t restarts = 0, failures = 0;
    double started = 0;
    bool stays_down = false;
    bool operator==(const Kept&) const = default;
  };
  BusInfo bus_;
  std::string supervisor_;
  std::map<std::string, Kept> kept_;
};

}  // namespace ipcm::supervisor
