// The pure parts of the class `supervisor`: the order of starts, the delays, the limit of restarts, the parameters.

#include "ipcm/error.h"
#include "supervisor/definition.h"
#include "supervisor/difference.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using namespace ipcm::supervisor;
using ipcm::test::contains;
using ipcm::test::error_of;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

using Order = std::vector<std::size_t>;
using Flags = std::vector<bool>;

std::string refusal_of(const std::string& json) {
  return error_of<Error>([&] { (void)define(Content::json(json).as_strict<Arguments>("args"), "sup"); });
}

Definition definition_of(const std::string& json) {
  return define(Content::json(json).as_strict<Arguments>("args"), "sup");
}

/// The difference as "name:change", in the order of the new definition.
std::vector<std::string> changes_of(const Difference& difference) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < difference.changes.size(); ++i)
    all.push_back(difference.definition.children[i].name + ":" + to_string(difference.changes[i]));
  return all;
}

}  // namespace

TEST_CASE("supervisor: each child starts after those that it needs") {
  CHECK(start_order({{"a", {2}}, {"b", {}}, {"c", {1}}}) == Order{1, 2, 0});
  CHECK(start_order({{"a", {}}, {"b", {}}, {"c", {}}}) == Order{0, 1, 2});
  CHECK(start_order({}).empty());
}

TEST_CASE("supervisor: a cycle is printed without the children that only lead to it") {
  const std::string error = error_of<UsageError>([] {
    (void)start_order({{"x", {1}}, {"a", {2}}, {"b", {1}}, {"free", {}}});
  });
  CHECK(error == "depends_on has a cycle: 'a' needs 'b', 'b' needs 'a'");
  CHECK(error_of<UsageError>([] {
          (void)start_order({{"a", {0}}});
        }) == "depends_on has a cycle: 'a' needs 'a'");
}

TEST_CASE("supervisor: the dependents of a child are those that need it directly or not") {
  CHECK(with_dependents({{"a", {}}, {"b", {0}}, {"c", {1}}, {"d", {}}}, 0) == Flags{true, true, true, false});
}

TEST_CASE("supervisor: the policies") {
  CHECK(restarts(Policy::permanent, true));
  CHECK(restarts(Policy::permanent, false));
  CHECK_FALSE(restarts(Policy::transient, true));
  CHECK(restarts(Policy::transient, false));
  CHECK_FALSE(restarts(Policy::temporary, false));
}

TEST_CASE("supervisor: the strategies") {
  const Order order = {2, 0, 1};
  CHECK(restarted_with(Strategy::one_for_one, order, 0) == Flags{true, false, false});
  CHECK(restarted_with(Strategy::one_for_all, order, 0) == Flags{true, true, true});
  CHECK(restarted_with(Strategy::rest_for_one, order, 0) == Flags{true, true, false});
}

TEST_CASE("supervisor: the delay doubles up to the longest one") {
  Backoff backoff({milliseconds(100), seconds(30), 0.2, seconds(10)}, [] { return 0.5; });
  for (const int expected : {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000})
    CHECK(backoff.next(seconds(1)) == milliseconds(expected));
  for (int i = 0; i < 100; ++i) CHECK(backoff.next({}) == seconds(30));
  CHECK(backoff.next(seconds(10)) == milliseconds(100));
  CHECK(backoff.next(milliseconds(9999)) == milliseconds(200));
}

TEST_CASE("supervisor: the jitter is a part of the delay, in both directions") {
  double random = 0;
  Backoff backoff({milliseconds(100), milliseconds(100), 0.2, seconds(10)}, [&] { return random; });
  CHECK(backoff.next({}) == milliseconds(80));
  random = 0.75;
  CHECK(backoff.next({}) == milliseconds(110));
}

TEST_CASE("supervisor: the limit of restarts counts those within the period") {
  Intensity intensity(2, seconds(60));
  const os::Clock::time_point begin{};
  CHECK(intensity.allows(begin));
  CHECK(intensity.allows(begin + seconds(30)));
  CHECK_FALSE(intensity.allows(begin + seconds(59)));
  CHECK(intensity.allows(begin + seconds(60)));
  CHECK_FALSE(intensity.allows(begin + seconds(89)));
  CHECK_FALSE(Intensity(0, seconds(60)).allows(begin));
}

TEST_CASE("supervisor: all mistakes in the parameters are told at once") {
  const std::string error = refusal_of(R"({"strategy":"one_for_al","period":-1,"services":[
      {"name":"db","class":"echo","restart":"always","jitter":2},
      {"name":"db","class":"","depends_on":["bd"],"delay":0},{"name":"sup","class":"echo"}]})");
  for (const char* part : {"strategy: 'one_for_al' is unknown (did you mean 'one_for_all'?)", "period: wants",
                           "service 'db': restart: 'always' is unknown", "jitter: wants",
                           "class: it is empty", "there is no service 'bd' (did you mean 'db'?)",
                           "delay: wants", "the name 'db' is given twice", "the name of its supervisor"})
    CHECK_MESSAGE(contains(error, part), error);
}

TEST_CASE("supervisor: an unknown parameter is refused, with the nearest one") {
  CHECK(contains(refusal_of(R"({"services":[{"name":"a","class":"echo","restrat":"no"}]})"),
                 "'services[0]': unknown key 'restrat' (did you mean 'restart'?)"));
  CHECK(contains(refusal_of(R"({"stratgy":"one_for_all"})"), "did you mean 'strategy'?"));
}

TEST_CASE("supervisor: a parameter of later versions is not available yet") {
  const std::string error =
      refusal_of(R"({"services":[{"name":"a","class":"echo","on_demand":true,"jitter":2}]})");
  CHECK(contains(error, "service 'a': on_demand: this key is not available yet"));
  CHECK(contains(error, "jitter: wants"));
}

TEST_CASE("supervisor: other parameters change only the children that they concern") {
  const Definition before = definition_of(R"({"services":[{"name":"same","class":"echo"},
      {"name":"policy","class":"echo"},{"name":"args","class":"echo"},{"name":"edge","class":"echo"},
      {"name":"old","class":"echo","depends_on":["same"]}]})");
  const Definition after = definition_of(R"({"services":[{"name":"new","class":"echo"},
      {"name":"args","class":"echo","args":{"prefix":"x"}},{"name":"same","class":"echo"},
      {"name":"policy","class":"echo","restart":"transient","grace":1},{"name":"edge","class":"echo","depends_on":["same"]}]})");
  const Difference difference = compare(before, after);
  CHECK(changes_of(difference) == std::vector<std::string>{"new:started", "args:restarted", "same:unchanged",
                                                           "policy:updated", "edge:updated", "old:stopped"});
  CHECK(difference.definition.nodes.back().needs == Order{2});
  CHECK(difference.definition.order.size() == 6);
}

TEST_CASE(
    "supervisor: a child that stops keeps its place among the stops, unless the new order contradicts it") {
  const Definition chain = definition_of(R"({"services":[{"name":"a","class":"echo","depends_on":["b"]},
      {"name":"b","class":"echo","depends_on":["c"]},{"name":"c","class":"echo"}]})");
  const Difference kept = compare(
      chain, definition_of(R"({"services":[{"name":"a","class":"echo"},{"name":"c","class":"echo"}]})"));
  CHECK(kept.definition.nodes[0].needs == Order{2});
  CHECK(kept.definition.nodes[2].needs == Order{1});
  const Difference reversed = compare(
      chain,
      definition_of(
          R"({"services":[{"name":"a","class":"echo"},{"name":"c","class":"echo","depends_on":["a"]}]})"));
  CHECK(reversed.definition.nodes[0].needs.empty());
  CHECK(reversed.definition.nodes[1].needs == Order{0});
}

TEST_CASE("supervisor: a child that comes back while it stops is started again") {
  const Definition one = definition_of(R"({"services":[{"name":"a","class":"echo"}]})");
  const Difference gone = compare(one, definition_of("{}"));
  CHECK(changes_of(compare(gone.definition, one)) == std::vector<std::string>{"a:restarted"});
}

TEST_CASE("supervisor: a child with replicas is a balancer that needs any of them") {
  const Definition made = definition_of(R"({"services":[{"name":"db","class":"echo"},
      {"name":"api","class":"echo","replicas":2,"depends_on":["db"]},{"name":"web","class":"echo","depends_on":["api"]}]})");
  std::vector<std::string> names;
  for (const ChildPlan& child : made.children) names.push_back(child.name);
  CHECK(names == std::vector<std::string>{"db", "api.1", "api.2", "api", "web"});
  CHECK(made.nodes[1].needs == Order{0});
  CHECK(made.nodes[3].needs == Order{1, 2});
  CHECK(made.nodes[3].needs_any);
  CHECK(made.nodes[4].needs == Order{3});
  CHECK(made.children[3].class_name == "balancer");
  CHECK(made.children[3].args.json() == R"({"controller":"sup","replicas":["api.1","api.2"]})");
  CHECK(with_dependents(made.nodes, 1) == Flags{false, true, false, false, false});
  CHECK(with_dependents(made.nodes, 0) == Flags{true, true, true, true, true});
}

TEST_CASE("supervisor: more replicas start some, and tell the balancer") {
  const auto with = [](const char* count) {
    return definition_of(R"({"services":[{"name":"api","class":"echo","replicas":)" + std::string(count) +
                         "}]}");
  };
  CHECK(changes_of(compare(with("1"), with("2"))) ==
        std::vector<std::string>{"api.1:unchanged", "api.2:started", "api:updated"});
  CHECK(changes_of(compare(with("2"), with("1"))) ==
        std::vector<std::string>{"api.1:unchanged", "api:updated", "api.2:stopped"});
}

TEST_CASE("supervisor: wrong numbers of replicas are refused") {
  CHECK(contains(refusal_of(R"({"services":[{"name":"a","class":"echo","replicas":0}]})"), "from 1 to 1000"));
  CHECK(contains(
      refusal_of(R"({"services":[{"name":"a","class":"echo","replicas":1},{"name":"a.1","class":"echo"}]})"),
      "the name 'a.1' is given twice"));
}
