#include "ipcm/callbacks.h"

#include <optional>
#include <string>

#include "support/tidy.h"

using namespace ipcm;
using ipcm::test::Tidy;

TEST_CASE_FIXTURE(Tidy, "callbacks: they run in order, with those put at the front first") {
  CallbackList<std::string&> list;
  CHECK(list.empty());
  list.push([](std::string& text) { text += "b"; });
  list.push([](std::string& text) { text += "c"; });
  list.unshift([](std::string& text) { text += "a"; });
  std::string text;
  list(text);
  CHECK(text == "abc");
  CHECK(list.size() == 3);
}

TEST_CASE_FIXTURE(Tidy, "callbacks: a removed callback does not run, and is removed once") {
  CallbackList<> list;
  int runs = 0;
  const auto first = list.push([&] { ++runs; });
  const auto second = list.unshift([&] { runs += 10; });
  CHECK(first != second);
  CHECK(list.remove(first));
  CHECK_FALSE(list.remove(first));
  CHECK_FALSE(list.remove(4711));
  list();
  CHECK(runs == 10);
  list.clear();
  list();
  CHECK(runs == 10);
}

TEST_CASE_FIXTURE(Tidy, "callbacks: a change made by a callback counts from the next call on") {
  CallbackList<> list;
  std::string ran;
  CallbackList<>::Id second = 0;
  bool changed = false;
  list.push([&] {
    ran += "1";
    if (changed) return;
    changed = true;
    list.remove(second);
    list.push([&] { ran += "3"; });
  });
  second = list.push([&] { ran += "2"; });
  list();
  CHECK(ran == "12");
  list();
  CHECK(ran == "1213");
  list.push([&] { list.clear(); });
  list();
  CHECK(list.empty());
}
