#include "transport/atomic_pipe/pipe_chunks.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "support/tidy.h"
#include "wire/frame.h"

using namespace ipcm::transport;
using namespace ipcm::wire;
using ipcm::test::Tidy;
using What = ChunkReader::What;

namespace {

std::string bytes_of(std::initializer_list<std::uint32_t> numbers) {
  std::string bytes;
  for (const std::uint32_t number : numbers) {
    std::array<char, 4> four{};
    std::memcpy(four.data(), &number, four.size());
    bytes.append(four.data(), four.size());
  }
  return bytes;
}
std::string part(std::uint32_t pid, std::uint32_t thread, std::uint32_t number, const std::string& data) {
  return bytes_of({pid, thread, number, static_cast<std::uint32_t>(data.size())}) + data;
}
std::vector<std::string> cut(ChunkWriter writer, const std::string& message) {
  std::vector<std::string> parts;
  std::array<char, kLargestChunk> room;
  for (std::size_t number = chunk_count(message.size()); number-- > 0;)
    parts.emplace_back(write_chunk(room, writer, message, number));
  return parts;
}
void put(ChunkReader& reader, std::string_view bytes) {
  const auto room = reader.room(bytes.size());
  REQUIRE(room.size() >= bytes.size());
  std::copy(bytes.begin(), bytes.end(), room.begin());
  reader.filled(bytes.size());
}
std::vector<ChunkReader::Event> all_of(ChunkReader& reader) {
  std::vector<ChunkReader::Event> all;
  for (;;) {
    all.push_back(reader.next());
    if (all.back().what == What::more || all.back().what == What::senseless) return all;
  }
}
std::vector<What> kinds(const std::vector<ChunkReader::Event>& events) {
  std::vector<What> all;
  for (const auto& event : events) all.push_back(event.what);
  return all;
}
const std::string kFull(kLargestChunkData, 'f');

}  // namespace

TEST_CASE_FIXTURE(Tidy,
                  "pipe_chunks: 9000 bytes are three parts, numbered down, as the reference cuts them") {
  std::string message(9000, 'x');
  message.back() = 'z';
  const auto parts = cut({15764, 0}, message);
  REQUIRE(parts.size() == 3);
  CHECK(parts[0] == part(15764, 0, 2, std::string(4080, 'x')));
  CHECK(parts[1] == part(15764, 0, 1, std::string(4080, 'x')));
  CHECK(parts[2] == part(15764, 0, 0, message.substr(8160)));
  CHECK(parts[2].size() == 16 + 840);
  CHECK(parts[0].size() == 4096);
}

TEST_CASE_FIXTURE(Tidy, "pipe_chunks: the header is that of a capture of the reference") {
  const std::string header = cut({15764, 0}, std::string(211, 'j'))[0].substr(0, kChunkHeader);
  const std::uint16_t probe = 1;
  char low = 0;
  std::memcpy(&low, &probe, 1);
  if (low == 1) CHECK(header == std::string("\x94\x3d\0\0\0\0\0\0\0\0\0\0\xd3\0\0\0", 16));
}

TEST_CASE_FIXTURE(
    Tidy, "pipe_chunks: messages of every size come out as they went in, in whatever pieces they arrive") {
  std::minstd_rand random(7);
  std::string stream;
  std::vector<std::string> messages;
  for (const std::size_t size : {0UL, 1UL, 4079UL, 4080UL, 4081UL, 8160UL, 8161UL, 100000UL, 0UL, 5UL}) {
    std::string message;
    for (std::size_t i = 0; i < size; ++i) message.push_back(static_cast<char>(random()));
    for (const std::string& one : cut({4000000, kLargestThread}, message)) stream += one;
    messages.push_back(message);
  }
  for (const std::size_t piece : {1UL, 7UL, 16UL, 4096UL, 5000UL, stream.size()}) {
    ChunkReader reader;
    std::vector<std::string> got;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      put(reader, std::string_view(stream).substr(at, piece));
      for (auto& event : all_of(reader)) {
        if (event.what == What::more) continue;
        REQUIRE(event.what == What::message);
        CHECK(event.writer == ChunkWriter{4000000, kLargestThread});
        got.push_back(event.message);
      }
    }
    CHECK(got == messages);
    CHECK_FALSE(reader.in_mid_chunk());
    CHECK(reader.unfinished().empty());
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "pipe_chunks: parts of several writers may be mixed; pid and thread distinguish them") {
  ChunkReader reader;
  const std::string one(9000, '1'), two(9000, '2'), three(9000, '3');
  const auto a = cut({10, 0}, one), b = cut({10, 1}, two), c = cut({11, 0}, three);
  for (std::size_t i = 0; i < 3; ++i) {
    put(reader, a[i]);
    put(reader, b[i]);
    put(reader, c[i]);
    put(reader, part(12, 0, 0, "short"));
  }
  std::vector<std::string> got;
  for (auto& event : all_of(reader))
    if (event.what == What::message && event.message != "short") got.push_back(event.message);
  CHECK(got == std::vector<std::string>{one, two, three});
}

TEST_CASE_FIXTURE(Tidy, "pipe_chunks: an invalid header is reported, and stays where it is") {
  for (const std::string& odd :
       {std::string("hello, I am no header"), std::string(16, '\0'), std::string(16, '\xff'),
        part(0, 0, 0, "x"), part(0x80000000U, 0, 0, "x"), part(5000000, 0, 0, "x"),
        part(10, 0x80000000U, 0, "x"), part(10, 1U << 24, 0, "x"), part(10, 0, 0xffffffffU, "x"),
        part(10, 0, 1, ""), part(10, 0, 0, std::string(4081, 'x')), bytes_of({10, 0, 0, 0xffffffffU})}) {
    ChunkReader reader;
    put(reader, part(10, 0, 0, "good") + part(11, 0, 1, kFull));
    put(reader, odd);
    CHECK(kinds(all_of(reader)) == std::vector<What>{What::message, What::senseless});
    CHECK(kinds(all_of(reader)) == std::vector<What>{What::senseless});
    reader.forget_all();
    CHECK(reader.unfinished().empty());
    put(reader, part(11, 0, 0, "good"));
    CHECK(all_of(reader)[0].message == "good");
  }
}

TEST_CASE_FIXTURE(Tidy, "pipe_chunks: a writer that begins a new message loses only its unfinished one") {
  ChunkReader reader;
  put(reader, part(10, 0, 2, kFull) + part(10, 0, 1, kFull) + part(11, 0, 1, kFull));
  put(reader, part(10, 0, 1, "new ") + part(10, 0, 0, "one"));
  put(reader, part(11, 0, 0, "other"));
  const auto events = all_of(reader);
  REQUIRE(kinds(events) == std::vector<What>{What::restarted, What::message, What::message, What::more});
  CHECK(events[0].lost == 2 * kLargestChunkData);
  CHECK(events[0].writer == ChunkWriter{10, 0});
  CHECK(events[1].message == "new one");
  CHECK(events[2].message == kFull + "other");
}

TEST_CASE_FIXTURE(
    Tidy, "pipe_chunks: a message beyond the limit is reported once and skipped, and the next is read") {
  const auto full_parts = static_cast<std::uint32_t>(kLargestFrame / kLargestChunkData);
  {
    ChunkReader reader;  // the first part announces the size
    put(reader, part(10, 0, full_parts + 5, kFull));
    CHECK(kinds(all_of(reader)) == std::vector<What>{What::too_large, What::more});
    std::vector<What> told;
    for (std::uint32_t number = full_parts + 5; number-- > 0;) {
      put(reader, part(10, 0, number, kFull));
      for (const auto& event : all_of(reader)) told.push_back(event.what);
    }
    CHECK(std::all_of(told.begin(), told.end(), [](What what) { return what == What::more; }));
    CHECK(reader.unfinished().empty());
    put(reader, part(10, 0, 0, "next"));
    CHECK(all_of(reader)[0].message == "next");
  }
  {
    ChunkReader reader;  // the largest message, and one byte more
    for (const std::size_t more : {0UL, 1UL}) {
      std::size_t messages = 0, too_large = 0;
      for (const std::string& one : cut({10, 0}, std::string(kLargestFrame + more, 'x'))) {
        put(reader, one);
        for (const auto& event : all_of(reader)) {
          messages += event.what == What::message ? 1 : 0;
          too_large += event.what == What::too_large ? 1 : 0;
        }
      }
      CHECK(messages == 1 - more);
      CHECK(too_large == more);
    }
  }
}

TEST_CASE_FIXTURE(Tidy, "pipe_chunks: writers are bounded in number: the quietest has to go") {
  ChunkReader reader;
  for (std::uint32_t i = 0; i < ChunkReader::kMostWriters; ++i) put(reader, part(100 + i, 0, 2, "x"));
  put(reader, part(100, 0, 1, "x"));  // now another writer has been quiet longest
  CHECK(all_of(reader).size() == 1);
  put(reader, part(50, 0, 1, "y"));
  const auto events = all_of(reader);
  REQUIRE(events[0].what == What::crowded);
  CHECK(events[0].writer.pid == 101);
  CHECK(events[0].lost == 1);
  CHECK(reader.unfinished().size() == ChunkReader::kMostWriters);
  put(reader, part(50, 0, 0, "z"));
  CHECK(all_of(reader)[0].message == "yz");
}

TEST_CASE_FIXTURE(Tidy, "pipe_chunks: unfinished messages of all threads of a dead process are forgotten") {
  ChunkReader reader;
  put(reader, part(10, 0, 1, "ab") + part(10, 5, 3, "cde") + part(11, 0, 1, "f"));
  CHECK(all_of(reader).size() == 1);
  CHECK(reader.unfinished() == std::set<ipcm::Pid>{10, 11});
  CHECK(reader.forget(10) == 5);
  CHECK(reader.forget(10) == 0);
  CHECK(reader.unfinished() == std::set<ipcm::Pid>{11});
  put(reader, part(11, 0, 0, "g"));
  CHECK(all_of(reader)[0].message == "fg");
}
