#include "os/random.h"

#include <unistd.h>

#include <cstdint>
#include <set>
#include <string>

#include "os/clock.h"
#include "support/tidy.h"
#include "unit/forked.h"

using namespace ipcm;
using namespace ipcm::os;
using ipcm::test::in_child;
using ipcm::test::Tidy;

TEST_CASE_FIXTURE(Tidy, "random: parent and child do not draw the same numbers after a fork") {
  // This test has its own executable, because the process must not have opened a descriptor through the
  // library before.
  (void)random_bits();  // seeded before the fork
  int ends[2] = {-1, -1};
  REQUIRE(::pipe(ends) == 0);
  CHECK(in_child([&] {
          const std::uint64_t drawn = random_bits();
          return ::write(ends[1], &drawn, sizeof drawn) == sizeof drawn ? 0 : 1;
        }) == 0);
  std::uint64_t drawn = 0;
  CHECK(::read(ends[0], &drawn, sizeof drawn) == sizeof drawn);
  CHECK(drawn != random_bits());
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE_FIXTURE(Tidy, "uuid: the form is that of version 7, in upper case") {
  std::set<std::string> all;
  for (int i = 0; i < 1000; ++i) {
    const std::string uuid = make_uuid();
    REQUIRE(uuid.size() == 36);
    for (std::size_t at = 0; at < uuid.size(); ++at) {
      const char c = uuid[at];
      if (at == 8 || at == 13 || at == 18 || at == 23)
        REQUIRE(c == '-');
      else
        REQUIRE(((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F')));
    }
    REQUIRE(uuid[14] == '7');
    REQUIRE(std::string("89AB").find(uuid[19]) != std::string::npos);
    all.insert(uuid);
  }
  CHECK(all.size() == 1000);
}

TEST_CASE_FIXTURE(Tidy, "uuid: it begins with the time, in milliseconds") {
  const auto before = wall_clock_seconds();
  const std::string uuid = make_uuid();
  const auto after = wall_clock_seconds();
  const auto ms = std::stoull(uuid.substr(0, 8) + uuid.substr(9, 4), nullptr, 16);
  CHECK(static_cast<double>(ms) >= before * 1000 - 1);
  CHECK(static_cast<double>(ms) <= after * 1000);
}

TEST_CASE_FIXTURE(Tidy, "random: names have their length, and letters and digits only") {
  CHECK(random_name(0).empty());
  const std::string name = random_name(500);
  CHECK(name.size() == 500);
  for (const char c : name)
    REQUIRE(((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')));
  CHECK(random_name(20) != random_name(20));
}
