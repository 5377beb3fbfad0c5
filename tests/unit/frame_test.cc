#include "wire/frame.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm::wire;
using namespace std::string_literals;
using ipcm::test::Tidy;

namespace {

std::string frame(const std::string& payload) {
  const auto header = frame_header(payload.size());
  return std::string(header.data(), header.size()) + payload;
}

void put(FrameReader& reader, std::string_view bytes) {
  const auto room = reader.room(bytes.size());
  REQUIRE(room.size() >= bytes.size());
  std::copy(bytes.begin(), bytes.end(), room.begin());
  reader.filled(bytes.size());
}

std::vector<std::string> all_of(FrameReader& reader) {
  std::vector<std::string> all;
  for (std::string_view payload; reader.next(payload) == FrameReader::Next::frame;) all.emplace_back(payload);
  return all;
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "frame: the header is the length, most significant byte first") {
  const auto as_text = [](std::size_t size) {
    const auto header = frame_header(size);
    return std::string(header.data(), header.size());
  };
  CHECK(as_text(0) == "\0\0\0\0"s);
  CHECK(as_text(0x20) == "\0\0\0\x20"s);
  CHECK(as_text(0x01020304) == "\x01\x02\x03\x04"s);
  CHECK(as_text(0xFFFFFFFF) == "\xff\xff\xff\xff"s);
}

TEST_CASE_FIXTURE(Tidy, "frame: frames arrive whole though they come byte by byte") {
  const std::vector<std::string> sent = {"hello", "", std::string(300, 'x'), "\0\0"s};
  FrameReader reader;
  std::vector<std::string> got;
  for (const auto& payload : sent)
    for (const char byte : frame(payload)) {
      put(reader, std::string_view(&byte, 1));
      for (auto& one : all_of(reader)) got.push_back(std::move(one));
    }
  CHECK(got == sent);
  CHECK_FALSE(reader.in_mid_frame());
}

TEST_CASE_FIXTURE(Tidy, "frame: several frames in one piece come out one after the other") {
  FrameReader reader;
  put(reader, frame("a") + frame("") + frame("ccc") + frame("dddd").substr(0, 6));
  CHECK(all_of(reader) == std::vector<std::string>{"a", "", "ccc"});
  CHECK(reader.in_mid_frame());
  CHECK(reader.announced() == 4);
  put(reader, "dd");
  CHECK(all_of(reader) == std::vector<std::string>{"dddd"});
  CHECK_FALSE(reader.in_mid_frame());
}

TEST_CASE_FIXTURE(Tidy, "frame: pieces of any size make the same frames") {
  std::mt19937 random(4711);
  std::vector<std::string> sent;
  std::string stream;
  for (int i = 0; i < 300; ++i) {
    sent.emplace_back(random() % 700, static_cast<char>('a' + i % 26));
    stream += frame(sent.back());
  }
  FrameReader reader;
  std::vector<std::string> got;
  for (std::size_t at = 0; at < stream.size();) {
    const std::size_t size = std::min<std::size_t>(1 + random() % 1500, stream.size() - at);
    put(reader, std::string_view(stream).substr(at, size));
    at += size;
    // The reader is not always emptied before it gets more.
    if (random() % 3 != 0)
      for (auto& one : all_of(reader)) got.push_back(std::move(one));
  }
  for (auto& one : all_of(reader)) got.push_back(std::move(one));
  CHECK(got == sent);
}

TEST_CASE_FIXTURE(Tidy, "frame: nothing is announced before the whole header is there") {
  FrameReader reader;
  std::string_view payload;
  CHECK(reader.announced() == 0);
  CHECK_FALSE(reader.in_mid_frame());
  put(reader, "\0\0\1"s);
  CHECK(reader.announced() == 0);
  CHECK(reader.in_mid_frame());
  CHECK(reader.next(payload) == FrameReader::Next::more);
  put(reader, "\2"s);
  CHECK(reader.announced() == 0x102);
  CHECK(reader.next(payload) == FrameReader::Next::more);
}

TEST_CASE_FIXTURE(Tidy, "frame: a length beyond the limit is refused as soon as it is read") {
  FrameReader reader;
  std::string_view payload;
  const auto header = frame_header(kLargestFrame + 1);
  put(reader, frame("ok") + std::string(header.data(), header.size()));
  CHECK(reader.next(payload) == FrameReader::Next::frame);
  CHECK(reader.next(payload) == FrameReader::Next::too_large);
  CHECK(reader.next(payload) == FrameReader::Next::too_large);
  CHECK(reader.announced() == kLargestFrame + 1);

  FrameReader other;
  put(other, "\xff\xff\xff\xff");
  CHECK(other.next(payload) == FrameReader::Next::too_large);
}

TEST_CASE_FIXTURE(Tidy, "frame: the largest length is still taken") {
  FrameReader reader;
  std::string_view payload;
  const auto header = frame_header(kLargestFrame);
  put(reader, std::string_view(header.data(), header.size()));
  CHECK(reader.next(payload) == FrameReader::Next::more);
}

TEST_CASE_FIXTURE(Tidy,
                  "frame: memory grows with the bytes that have arrived, not with the announced length") {
  FrameReader reader;
  std::string_view payload;
  const auto header = frame_header(kLargestFrame);
  put(reader, std::string_view(header.data(), header.size()));
  constexpr std::size_t kPiece = 1000;
  for (std::size_t arrived = header.size(); arrived < 100 * kPiece; arrived += kPiece) {
    CHECK(reader.next(payload) == FrameReader::Next::more);
    const auto room = reader.room(kPiece);
    CHECK(room.size() >= kPiece);
    CHECK(room.size() <= 4 * (arrived + kPiece));
    std::fill_n(room.begin(), kPiece, 'x');
    reader.filled(kPiece);
  }
}

TEST_CASE_FIXTURE(Tidy, "frame: the room of a large frame is given back") {
  FrameReader reader;
  const std::string large(16UL * 1024 * 1024, 'x');
  put(reader, frame(large));
  CHECK(all_of(reader).size() == 1);
  CHECK(reader.room(1).size() < 1024 * 1024);
  put(reader, frame("small"));
  CHECK(all_of(reader) == std::vector<std::string>{"small"});
}

TEST_CASE_FIXTURE(Tidy, "frame: memory does not grow with the number of frames") {
  FrameReader reader;
  for (int i = 0; i < 10'000; ++i) {
    const std::string bytes = frame("payload");
    put(reader, bytes.substr(0, 3));
    CHECK(all_of(reader).empty());
    put(reader, bytes.substr(3));
    REQUIRE(all_of(reader).size() == 1);
  }
  CHECK(reader.room(1).size() < 1000);
}
