// The pure part of the class `balancer`: the choice of a replica.

#include "balancer/replicas.h"
#include "support/tidy.h"
#include "unit/expect.h"

using ipcm::balancer::Replicas;

namespace {

Replicas three() {
  Replicas replicas;
  replicas.set({"a", "b", "c"});
  for (const char* name : {"a", "b", "c"}) replicas.note(name, true);
  return replicas;
}

std::string choose_and_begin(Replicas& replicas) {
  std::string name = replicas.choose().value_or("none");
  replicas.begin(name);
  return name;
}

}  // namespace

TEST_CASE("balancer: the replica with the fewest requests is next; of several, each in turn") {
  Replicas replicas = three();
  for (const char* name : {"a", "b", "c", "a", "b"}) CHECK(choose_and_begin(replicas) == name);
  CHECK(choose_and_begin(replicas) == "c");
  replicas.end("b");
  CHECK(choose_and_begin(replicas) == "b");
  CHECK(replicas.open() == 6);
}

TEST_CASE("balancer: a replica that is away, or was tried, gets nothing") {
  Replicas replicas = three();
  replicas.note("a", false);
  CHECK(replicas.absent() == std::vector<std::string>{"a"});
  CHECK(replicas.choose({"b"}) == "c");
  CHECK_FALSE(replicas.choose({"b", "c"}));
  replicas.note("unknown", true);
  CHECK_FALSE(Replicas().choose());
}

TEST_CASE("balancer: a former replica is drained when it has answered all its requests") {
  Replicas replicas = three();
  replicas.begin("c");
  replicas.set({"a", "b"});
  CHECK_FALSE(replicas.is_drained());
  CHECK(replicas.names() == std::vector<std::string>{"a", "b"});
  CHECK(choose_and_begin(replicas) == "a");
  CHECK(choose_and_begin(replicas) == "b");
  replicas.end("c");
  CHECK(replicas.is_drained());
  replicas.end("c");
  CHECK(replicas.open() == 2);
}

TEST_CASE("balancer: a former replica that comes back keeps its count") {
  Replicas replicas = three();
  replicas.begin("c");
  replicas.set({"a"});
  replicas.set({"a", "c"});
  CHECK(replicas.is_drained());
  CHECK(choose_and_begin(replicas) == "a");
  CHECK(replicas.open() == 2);
}
