#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ipcm::balancer {

/// The replicas of a balancer, and how many requests each of them has that are not answered yet.
class Replicas {
 public:
  /// Gives new requests to these replicas only, from now on. Others keep the requests that they have.
  void set(const std::vector<std::string>& names);
  /// Notes whether a replica can get requests. Unknown names are ignored.
  void note(const std::string& name, bool is_there);
  /// Returns the replica with the fewest requests among those that are there, without those in `tried`; of several, the
  /// next one in turn. nullopt: there is none.
  [[nodiscard]] std::optional<std::string> choose(const std::set<std::string>& tried = {});
  void begin(const std::string& name);  ///< It has got a request.
  void end(const std::string& name);    ///< It has answered one, or it never will.

  /// The number of requests that are not answered yet.
  [[nodiscard]] std::size_t open() const;
  /// Whether the replicas that get no new requests have answered all that they had.
  [[nodiscard]] bool is_drained() const;
  /// The replicas that get new requests if they are there.
  [[nodiscard]] std::vector<std::string> names() const;
  /// Those of them that are not there.
  [[nodiscard]] std::vector<std::string> absent() const;

 private:
  struct Replica {
    std::string name;
    bool is_used = true;
    bool is_there = false;
    std::size_t open = 0;
  };
  [[nodiscard]] Replica* find(const std::string& name);
  void forget_unused();

  std::vector<Replica> replicas_;
  std::size_t turn_ = 0;  // the index after the last one that was chosen
};

}  // namespace ipcm::balancer
