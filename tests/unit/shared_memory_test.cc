#include "transport/connection_unix/shared_memory.h"

#include <sys/stat.h>

#include <cstring>
#include <deque>
#include <string>

#include "ipcm/error.h"
#include "os/descriptor.h"
#include "support/tidy.h"
#include "unit/dice.h"

using namespace ipcm;
using namespace ipcm::transport;
using ipcm::test::Tidy;

namespace {

constexpr std::size_t kMiB = 1024UL * 1024;
constexpr std::size_t kNote = 4096;  // the page with the count of the reader

MemoryReader reader_of(const MemoryWriter& writer) { return {os::duplicate(writer.file()), kSharedMemory}; }
std::size_t memory_of(const MemoryWriter& writer) {
  struct stat facts {};
  REQUIRE(::fstat(writer.file(), &facts) == 0);
  return static_cast<std::size_t>(facts.st_blocks) * 512;
}
/// Writes the count of the reader, as any process that has the file can do.
void write_count(const MemoryWriter& writer, std::uint64_t count) {
  const os::Mapping head(writer.file(), 0, kNote, os::Mapping::Access::read_write);
  std::memcpy(head.bytes().data(), &count, sizeof count);
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "shared memory: a message is taken, and its place is used again") {
  MemoryWriter writer;
  MemoryReader reader = reader_of(writer);
  for (int i = 0; i < 100; ++i) {
    const std::string text(kMiB + static_cast<std::size_t>(i), static_cast<char>('!' + i % 90));
    const auto place = writer.put(text);
    REQUIRE(place);
    CHECK(place->offset == 0);
    CHECK((reader.take(*place).bytes == text));
  }
  CHECK(memory_of(writer) <= 2 * kMiB);
}

TEST_CASE_FIXTURE(Tidy, "shared memory: a message that was not taken is never overwritten") {
  MemoryWriter writer;
  MemoryReader reader = reader_of(writer);
  test::Dice dice;
  std::deque<std::pair<Place, std::string>> open;
  std::size_t refused = 0, wrapped = 0;
  for (int i = 0; i < 3000; ++i) {
    if (dice.below(2) == 0 && !open.empty()) {
      CHECK((reader.take(open.front().first).bytes == open.front().second));
      open.pop_front();
      continue;
    }
    std::string text(1 + dice.below(kMiB), static_cast<char>('a' + dice.below(26)));
    const auto place = writer.put(text);
    if (!place) {
      ++refused;
      continue;
    }
    if (!open.empty() && place->offset < open.back().first.offset) ++wrapped;
    CHECK(place->offset + place->size <= MemoryWriter::kMostUnread);
    open.emplace_back(*place, std::move(text));
  }
  CHECK(refused > 0);
  CHECK(wrapped > 0);
  for (; !open.empty(); open.pop_front())
    CHECK((reader.take(open.front().first).bytes == open.front().second));
}

TEST_CASE_FIXTURE(Tidy, "shared memory: one message may fill all of it, and then nothing else has room") {
  MemoryWriter writer;
  MemoryReader reader = reader_of(writer);
  const std::string all(kSharedMemory, 'x');
  CHECK_FALSE(writer.put(all + "x"));
  const auto place = writer.put(all);
  REQUIRE(place);
  CHECK_FALSE(writer.put("y"));
  CHECK((reader.take(*place).bytes == all));
  CHECK(writer.put("y"));
}

TEST_CASE_FIXTURE(Tidy, "shared memory: it is given back when it was not used, and all was read") {
  MemoryWriter writer;
  MemoryReader reader = reader_of(writer);
  using Rest = MemoryWriter::Rest;
  CHECK(writer.rest() == Rest::rests);
  const std::string text(4 * kMiB, 'x');
  auto place = writer.put(text);
  REQUIRE(place);
  CHECK(writer.rest() == Rest::used);
  CHECK(writer.rest() == Rest::unread);
  CHECK(memory_of(writer) >= 4 * kMiB);
  CHECK((reader.take(*place).bytes == text));
  CHECK(writer.rest() == Rest::rests);
  CHECK(memory_of(writer) <= kNote);
  place = writer.put(text);
  REQUIRE(place);
  CHECK((reader.take(*place).bytes == text));
}

TEST_CASE_FIXTURE(Tidy, "shared memory: a reader that counts wrong harms only itself") {
  MemoryWriter writer;
  for (const std::uint64_t count : {~std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{1} << 63U,
                                    std::uint64_t{7}, ~std::uint64_t{0} - 3}) {
    write_count(writer, count);
    for (int i = 0; i < 20; ++i) {
      const auto place = writer.put(std::string(kMiB, 'x'));
      if (place) CHECK(place->offset + place->size <= MemoryWriter::kMostUnread);
    }
    CHECK_NOTHROW((void)writer.rest());
  }
}

TEST_CASE_FIXTURE(Tidy, "shared memory: a place that is not in the file is refused") {
  MemoryWriter writer;
  MemoryReader reader = reader_of(writer);
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};
  for (const Place place : {Place{kSharedMemory, 1}, Place{kSharedMemory - 1, 2}, Place{0, kSharedMemory + 1},
                            Place{kHuge, 1}, Place{1, kHuge}, Place{kHuge, kHuge}})
    CHECK_THROWS_AS((void)reader.take(place), ProtocolError);
  CHECK(reader.take({kSharedMemory, 0}).bytes.empty());
}
