#include "wire/serializer.h"

#include <algorithm>
#include <array>
#include <cereal/archives/portable_binary.hpp>
#include <cereal/types/string.hpp>
#include <cmath>
#include <filesystem>
#include <sstream>
#include <thread>

#include "ipcm/error.h"
#include "support/tidy.h"
#include "unit/dice.h"
#include "unit/expect.h"
#include "unit/forked.h"
#include "wire/frame.h"
#include "wire/json_check.h"
#include "wire/json_index.h"
#include "wire/json_text.h"

#ifdef IPCM_HAS_ZSTD
#include <zstd.h>
#endif

using namespace ipcm;
using namespace ipcm::wire;
using namespace std::string_literals;
using ipcm::test::contains;
using ipcm::test::Dice;
using ipcm::test::error_of;
using ipcm::test::in_child;
using ipcm::test::kForkUnlocksAllocator;
using ipcm::test::repeated;
using ipcm::test::Tidy;
using ipcm::test::write_file;

namespace {

using Options = std::map<std::string, std::string>;

std::shared_ptr<const Serializer> make(const std::string& name, Options options = {}) {
  return make_serializer({"ConnectionUnix", name, "/r", std::move(options), {}});
}

Message message(Content content) {
  return {"01A2050B-EF33-7769-9AB2-B6C36F6D7024", "a", "b", 1795380997.93995, 7, true, std::move(content)};
}

void check_same(const Message& got, const Message& sent) {
  CHECK(got.id == sent.id);
  CHECK(got.from == sent.from);
  CHECK(got.to == sent.to);
  CHECK(std::abs(got.stamp - sent.stamp) < 1e-5);
  CHECK(got.stamp_ord == sent.stamp_ord);
  CHECK(got.broadcast == sent.broadcast);
  CHECK(got.content == sent.content);
}

/// Returns contents of all shapes.
std::vector<Content> contents() {
  return {Content(7),
          Content(-1.5e300),
          Content(true),
          Content(""),
          Content("x"),
          Content("h\"\\\n\t\x01/ü€𝄞"s),
          Content::json(R"({"ipcm_request_id":"01A2050B","request":{"list":[1,"2",null,[],{}]}})"),
          Content::json(repeated("[", kDeepestContent) + repeated("]", kDeepestContent)),
          Content(repeated("long ", 100000))};
}

/// Returns true if read() gives a message, false if it throws ProtocolError. Another exception ends the test.
bool is_read(const Serializer& serializer, std::string_view bytes) {
  try {
    const Message got = serializer.read(bytes, "me");
    // Receivers rely on this.
    CHECK_FALSE(got.from.empty());
    if (got.content.is_bytes()) return true;
    CHECK(is_ascii_json(got.content.json()));
    (void)got.content.readable();
    (void)make("JSON")->write(got);
    return true;
  } catch (const ProtocolError&) {
    return false;
  }
}

/// Returns the bytes that the archive of cereal writes; the test compares the serializer with them.
std::string by_cereal(const Message& m, bool little_endian = true) {
  std::ostringstream out;
  out << '\xCE' << '\x01';
  {
    using Archive = cereal::PortableBinaryOutputArchive;
    Archive archive(out, little_endian ? Archive::Options::LittleEndian() : Archive::Options::BigEndian());
    archive(std::uint8_t{1}, m.id, m.from, m.to, m.stamp, m.stamp_ord, m.broadcast, std::uint8_t{1},
            m.content.json());
  }
  return out.str();
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "serializers: whole messages come back, of every one that is known") {
  for (const std::string& name : known_serializers()) {
    CAPTURE(name);
    const auto serializer = make(name);
    CHECK(serializer->name() == name);
    for (const Content& content : contents()) {
      const Message sent = message(content);
      const std::string bytes = serializer->write(sent);
      CHECK(serializer->is_spoken(bytes));
      check_same(serializer->read(bytes, "me"), sent);
      // Content in slices gives the same bytes, wherever it is cut.
      const std::string& text = content.json();
      const std::string_view view = text;
      for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, text.size() / 2, text.size()}) {
        const ContentSlices pieces{view.substr(0, cut / 2), view.substr(cut / 2, text.size() - cut),
                                   view.substr(text.size() - cut + cut / 2)};
        Message empty = sent;
        empty.content = Content();
        CHECK(serializer->write_slices(empty, pieces).take() == bytes);
      }
    }
  }
}

TEST_CASE_FIXTURE(Tidy, "serializers: values by themselves come back") {
  for (const std::string& name : known_serializers()) {
    CAPTURE(name);
    const auto serializer = make(name);
    for (const Content& content : contents())
      CHECK(serializer->read_value(serializer->write_value(content.json())) == content.json());
    CHECK(serializer->read_value(serializer->write_value("null")) == "null");
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "serializers: optional members get their defaults, and missing required ones are refused") {
  for (const std::string& name : known_serializers()) {
    CAPTURE(name);
    const auto serializer = make(name);
    Message sent = message("x");
    sent.id = sent.to = "";
    sent.stamp = 0;
    const Message got = serializer->read(serializer->write(sent), "me");
    CHECK(got.id.size() == 36);
    CHECK(got.to == "me");
    CHECK(got.stamp > 1e9);
    for (const char* nobody : {"", "0"}) {
      sent.from = nobody;
      CHECK(contains(error_of([&] { (void)serializer->read(serializer->write(sent), "me"); }), "sender"));
    }
    sent.from = "a";
    sent.content = nullptr;
    CHECK(contains(error_of([&] { (void)serializer->read(serializer->write(sent), "me"); }), "content"));
  }
}

TEST_CASE_FIXTURE(Tidy, "serializers: a message that is cut anywhere is refused") {
  for (const std::string& name : known_serializers()) {
    CAPTURE(name);
    const auto serializer = make(name);
    const std::string bytes = serializer->write(message(Content::json(R"({"a":[1,2,"three"]})")));
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      CAPTURE(size);
      CHECK_FALSE(is_read(*serializer, std::string_view(bytes).substr(0, size)));
      CHECK_THROWS_AS((void)serializer->read_value(std::string_view(bytes).substr(0, size)), ProtocolError);
    }
    CHECK_FALSE(is_read(*serializer, bytes + '\0'));
    CHECK_FALSE(is_read(*serializer, bytes + bytes));
    CHECK(is_read(*serializer, bytes));
  }
}

TEST_CASE_FIXTURE(Tidy, "serializers: a message with any wrong bit is refused, or valid") {
  for (const std::string& name : known_serializers()) {
    CAPTURE(name);
    const auto serializer = make(name);
    const std::string bytes = serializer->write(message(Content::json(R"({"a":[1,2,"th\u00fcr"],"b":{}})")));
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      std::string wrong = bytes;
      wrong[bit / 8] = static_cast<char>(wrong[bit / 8] ^ (1 << (bit % 8)));
      (void)is_read(*serializer, wrong);
    }
    Dice dice;
    for (int i = 0; i < 5000; ++i) {
      std::string wrong = bytes;
      for (std::size_t n = 1 + dice.below(4); n > 0; --n)
        wrong[dice.below(wrong.size())] = static_cast<char>(dice.below(256));
      (void)is_read(*serializer, wrong);
    }
    CHECK(is_read(*serializer, bytes));
  }
}

TEST_CASE_FIXTURE(Tidy, "serializers: bytes of another one are refused, and not taken for a slip") {
  for (const std::string& writer : known_serializers()) {
    for (const std::string& reader : known_serializers()) {
      if (writer == reader || (writer == "JSON" && reader == "JSON::Zstd")) continue;
      CAPTURE(writer);
      CAPTURE(reader);
      const std::string bytes = make(writer)->write(message("x"));
      CHECK_FALSE(is_read(*make(reader), bytes));
      CHECK_FALSE(make(reader)->is_spoken(bytes));
    }
  }
}

TEST_CASE_FIXTURE(Tidy, "serializers: an unknown one is an error that lists the known ones") {
  const std::string error = error_of<BusError>([] { (void)make("Runes"); });
  CHECK(contains(error, "Runes"));
  for (const std::string& name : known_serializers()) CHECK(contains(error, name));
  CHECK(known_serializers().front() == "JSON");
}

TEST_CASE_FIXTURE(Tidy, "serializers: an option that one does not have is refused by its name") {
  for (const std::string& name : known_serializers()) {
    const std::string error = error_of<BusError>([&] { (void)make(name, {{"colour", "red"}}); });
    CHECK(contains(error, name));
    CHECK(contains(error, "colour"));
  }
}

TEST_CASE_FIXTURE(Tidy, "Cereal: the bytes are those of cereal's portable binary archive") {
  const auto serializer = make("Cereal");
  for (const Content& content : contents()) {
    Message sent = message(content);
    CHECK(serializer->write(sent) == by_cereal(sent));
    check_same(serializer->read(by_cereal(sent, false), "me"), sent);
    sent.broadcast = false;
    CHECK(serializer->write(sent) == by_cereal(sent));
  }
  // The archive of cereal reads the bytes of this library.
  const Message sent = message("x");
  std::istringstream in(serializer->write(sent).substr(2));
  cereal::PortableBinaryInputArchive archive(in);
  std::uint8_t record = 0, kind = 0;
  Message got;
  std::string content;
  archive(record, got.id, got.from, got.to, got.stamp, got.stamp_ord, got.broadcast, kind, content);
  got.content = Content::json(content);
  check_same(got, sent);
  CHECK(record == 1);
  CHECK(kind == 1);
}

TEST_CASE_FIXTURE(Tidy, "Cereal: a length beyond the end is refused before anything is allocated") {
  const auto serializer = make("Cereal");
  const std::string bytes = serializer->write(message("x"));
  constexpr std::size_t kFirstLength = 4;
  for (const std::string& length : {std::string(8, '\xFF'), "\0\0\0\0\0\0\0\x80"s, "\0\0\0\0\0\x01\0\0"s}) {
    std::string wrong = bytes;
    wrong.replace(kFirstLength, length.size(), length);
    CHECK(contains(error_of([&] { (void)serializer->read(wrong, "me"); }), "ends too early"));
  }
}

TEST_CASE_FIXTURE(
    Tidy,
    "Cereal: content that is not JSON, names that are not UTF-8, other kinds and versions are refused") {
  const auto serializer = make("Cereal");
  const auto refusal = [&](const std::string& bytes) {
    return error_of([&] { (void)serializer->read(bytes, "me"); });
  };
  for (const char* json : {"", "{", "nul", "[1,]", "\"\xC3\xBC\"", "\"\n\"", "{\"a\":1}}", "1 2",
                           "\"\\ud800\"", "{a:1}", "'a'", "01", "NaN"}) {
    CAPTURE(std::string(json));
    CHECK(contains(refusal(serializer->write(message(Content::trusted_json(json)))), "not JSON"));
  }
  Message sent = message("x");
  sent.from = "\xFF\xFE";
  CHECK(contains(refusal(serializer->write(sent)), "UTF-8"));

  std::string bytes = serializer->write(message("x"));
  std::string other = bytes;
  other[1] = 2;
  CHECK(contains(refusal(other), "version 2"));
  CHECK_FALSE(serializer->is_spoken(other));
  other = bytes;
  other[2] = 9;
  CHECK(contains(refusal(other), "byte order 9"));
  other = bytes;
  other[other.size() - 3 - 8 - 1] = 3;
  CHECK(contains(refusal(other), "kind 3"));
  CHECK(contains(refusal(serializer->write_value("1")), "no message"));
  CHECK(contains(error_of([&] { (void)serializer->read_value(bytes); }), "no value"));
}

TEST_CASE_FIXTURE(Tidy, "JSON check: agrees with the parser on everything that is ASCII") {
  const auto parser_agrees = [](const std::string& text) {
    bool valid = true;
    try {
      (void)JsonIndex(text, "it");
    } catch (const ProtocolError& error) {
      // This test does not check duplicate keys.
      if (contains(error.what(), "twice in one object")) return;
      valid = false;
    }
    CAPTURE(text);
    CHECK(is_ascii_json(text) == (valid && is_ascii(text)));
  };
  const std::vector<std::string> seeds = {
      R"({"a":[1,-2.5e+10,0.1E-7,true,false,null,"x\u00fc\ud834\udd1e\n\"\\\/\b\f\r\t"],"b":{},"c":[],"":[[{}]]})",
      R"( [ 0 , -0 , 1e5 , "" ] )",
      R"("a string of some length, so that words of eight bytes are gone over at once \\")",
      "17",
      "-1.25e-3",
      R"({"x":"\ud83d\ude00","y":"\u0000\u001f\u007f"})"};
  for (const std::string& seed : seeds) {
    parser_agrees(seed);
    CHECK(is_ascii_json(seed));
    for (std::size_t size = 0; size < seed.size(); ++size) parser_agrees(seed.substr(0, size));
  }
  constexpr std::string_view kLikely =
      "{}[]\",:\\u0123456789dDaAfFeE+-. \n\ttruefalsn\x01\x7f\x80\xC3\xED\xA0";
  Dice dice;
  for (int i = 0; i < 20000; ++i) {
    std::string text = seeds[dice.below(seeds.size())];
    for (std::size_t n = 1 + dice.below(3); n > 0; --n) {
      const std::size_t at = dice.below(text.size());
      const char c = kLikely[dice.below(kLikely.size())];
      switch (dice.below(3)) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.insert(at, 1, c);
          break;
        default:
          text.erase(at, 1);
      }
      if (text.empty()) text = "0";
    }
    parser_agrees(text);
  }
}

TEST_CASE_FIXTURE(Tidy, "JSON check: as deep as the parser goes, and no deeper") {
  const auto nested = [](std::size_t depth) { return repeated("[", depth) + repeated("]", depth); };
  CHECK(is_ascii_json(nested(kDeepest)));
  CHECK_FALSE(is_ascii_json(nested(kDeepest + 1)));
  CHECK_FALSE(is_ascii_json(repeated("[", 10000000)));
  CHECK_FALSE(is_ascii_json(repeated("{\"a\":", 10000000)));
  CHECK(is_ascii_json(nested(3), 3));
  CHECK_FALSE(is_ascii_json(nested(4), 3));
}

#ifdef IPCM_HAS_ZSTD

namespace {

std::string zstd(const std::string& text, int level = 3) {
  std::string frame(ZSTD_compressBound(text.size()), '\0');
  frame.resize(ZSTD_compress(frame.data(), frame.size(), text.data(), text.size(), level));
  return frame;
}

/// The same, but a stream: the header has no content size.
std::string zstd_stream(const std::string& text) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::string frame(ZSTD_compressBound(text.size()), '\0');
  ZSTD_inBuffer from{text.data(), text.size(), 0};
  ZSTD_outBuffer into{frame.data(), frame.size(), 0};
  (void)ZSTD_compressStream2(context, &into, &from, ZSTD_e_flush);
  (void)ZSTD_compressStream2(context, &into, &from, ZSTD_e_end);
  ZSTD_freeCCtx(context);
  frame.resize(into.pos);
  return frame;
}

std::string plain(const Content& content) { return make("JSON")->write(message(content)); }

}  // namespace

TEST_CASE_FIXTURE(Tidy,
                  "JSON::Zstd: frames of other compressors are read, with or without an announced size") {
  const auto serializer = make("JSON::Zstd");
  for (const Content& content : contents()) {
    const Message sent = message(content);
    check_same(serializer->read(zstd(plain(content), 19), "me"), sent);
    const std::string stream = zstd_stream(plain(content));
    REQUIRE(ZSTD_getFrameContentSize(stream.data(), stream.size()) == ZSTD_CONTENTSIZE_UNKNOWN);
    check_same(serializer->read(stream, "me"), sent);
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "JSON::Zstd: a payload is one frame that tells its size, and plain JSON is read as well") {
  const auto serializer = make("JSON::Zstd");
  const std::string text = plain("x"), bytes = serializer->write(message("x"));
  CHECK(ZSTD_findFrameCompressedSize(bytes.data(), bytes.size()) == bytes.size());
  CHECK(ZSTD_getFrameContentSize(bytes.data(), bytes.size()) == text.size());
  check_same(serializer->read(text, "me"), message("x"));
  CHECK(serializer->read_value(" 1") == "1");
  CHECK(contains(error_of([&] { (void)serializer->read(bytes + bytes, "me"); }), "bytes follow"));
  CHECK(contains(error_of([&] { (void)serializer->read(zstd("[1]"), "me"); }), "object"));
  CHECK(contains(error_of([&] { (void)serializer->read(zstd(""), "me"); }), "JSON"));
}

TEST_CASE_FIXTURE(Tidy, "JSON::Zstd: levels are 1 to 22, and make smaller frames") {
  for (const char* level : {"0", "23", "-1", "", "3x", "high", "99999999999"}) {
    CAPTURE(std::string(level));
    CHECK(contains(error_of<BusError>([&] { (void)make("JSON::Zstd", {{"level", level}}); }), "1 to 22"));
  }
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i * i) + " ";
  const Message sent = message(text);
  const std::string fast = make("JSON::Zstd", {{"level", "1"}})->write(sent);
  const std::string small = make("JSON::Zstd", {{"level", "22"}})->write(sent);
  CHECK(small.size() < fast.size());
  CHECK(make("JSON::Zstd")->write(sent) == make("JSON::Zstd", {{"level", "3"}})->write(sent));
  for (const std::string& bytes : {fast, small}) check_same(make("JSON::Zstd")->read(bytes, "me"), sent);
}

TEST_CASE_FIXTURE(Tidy, "JSON::Zstd: a bomb is refused, whether it tells its size or not") {
  const auto serializer = make("JSON::Zstd");
  const std::string large(kLargestFrame + 1, ' ');
  for (const std::string& bomb : {zstd(large), zstd_stream(large), zstd(large + large)}) {
    REQUIRE(bomb.size() < 100000);
    CHECK(contains(error_of([&] { (void)serializer->read(bomb, "me"); }), "larger than the limit"));
    CHECK(contains(error_of([&] { (void)serializer->read_value(bomb); }), "larger than the limit"));
  }
  CHECK(serializer->read_value(zstd("1" + std::string(kLargestFrame - 1, ' '))) == "1");
  // The serializer still works.
  check_same(serializer->read(serializer->write(message("x")), "me"), message("x"));
}

TEST_CASE_FIXTURE(Tidy, "JSON::Zstd: a size that is not true is noticed") {
  const auto serializer = make("JSON::Zstd");
  std::string bytes = serializer->write(message(repeated("x", 100)));
  // Byte 4 has the format of the size, byte 5 is its lowest byte.
  REQUIRE((bytes[4] & '\x20') != 0);
  for (const int other : {1, 50, 255}) {
    std::string wrong = bytes;
    wrong[5] = static_cast<char>(wrong[5] ^ other);
    CHECK_FALSE(is_read(*serializer, wrong));
  }
}

TEST_CASE_FIXTURE(Tidy, "JSON::Zstd: a message that is too large to be read is not written") {
  const auto serializer = make("JSON::Zstd");
  const std::string error =
      error_of([&] { (void)serializer->write(message(Content(std::string(kLargestFrame, 'x')))); });
  CHECK(contains(error, "larger than the limit"));
}

TEST_CASE_FIXTURE(
    Tidy, "JSON::Zstd: a dictionary makes small messages smaller, and has to be the same on both sides") {
  const std::string path = directory() + "/dictionary";
  write_file(path, repeated(plain("the usual words of a message"), 20));
  const auto with = make("JSON::Zstd", {{"dictionary", path}, {"level", "5"}});
  const auto without = make("JSON::Zstd");
  const Message sent = message("the usual words of a message");
  const std::string bytes = with->write(sent);
  CHECK(bytes.size() < without->write(sent).size() / 2);
  check_same(with->read(bytes, "me"), sent);
  check_same(with->read(without->write(sent), "me"), sent);
  CHECK_FALSE(is_read(*without, bytes));
  CHECK(without->is_spoken(bytes));

  const std::string other = directory() + "/other";
  write_file(other, "something entirely different");
  const auto mistaken = make("JSON::Zstd", {{"dictionary", other}});
  CHECK(contains(error_of([&] { (void)mistaken->read(bytes, "me"); }), "another dictionary"));
  for (const std::string& file : {path, other}) std::filesystem::remove(file);
}

TEST_CASE_FIXTURE(Tidy,
                  "JSON::Zstd: a dictionary that can't be had is an error with its path and the reason") {
  const auto error = [](const std::string& path) {
    return error_of<BusError>([&] { (void)make("JSON::Zstd", {{"dictionary", path}}); });
  };
  const std::string path = directory() + "/dictionary";
  for (const std::string& wrong : {path, directory(), std::string()})
    CHECK(contains(error(wrong), "'" + wrong + "'"));
  write_file(path, "");
  CHECK(contains(error(path), "empty"));
  write_file(path, "\x37\xA4\x30\xEC that is how one begins, and no more"s);
  CHECK(contains(error(path), "damaged"));
  std::filesystem::remove(path);
}

TEST_CASE_FIXTURE(Tidy, "JSON::Zstd: several threads share one, and a forked child goes on with it") {
  const auto serializer = make("JSON::Zstd");
  const auto exchange = [&serializer](int who) {
    int wrong = 0;
    for (int i = 0; i < 500; ++i) {
      const Content content(repeated(std::to_string(who), static_cast<std::size_t>(i)));
      if (serializer->read(serializer->write(message(content)), "me").content != content) ++wrong;
    }
    return wrong;
  };
  std::array<int, 4> wrong{};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < wrong.size(); ++i)
    threads.emplace_back([&, i] { wrong[i] = exchange(static_cast<int>(i)); });
  const auto join = [&threads] {
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  };
  if (!kForkUnlocksAllocator) join();
  const int child = in_child([&] { return exchange(9); });
  join();
  for (const int count : wrong) CHECK(count == 0);
  CHECK(child == 0);
}

#else

TEST_CASE_FIXTURE(Tidy, "JSON::Zstd: a build without it says so") {
  CHECK(contains(error_of<BusError>([] { (void)make("JSON::Zstd"); }), "meson option zstd"));
}

#endif

TEST_CASE_FIXTURE(
    Tidy, "body: a string that is copied is known to be plain, however long it is, and nothing else is") {
  for (const std::size_t size :
       {0UL, 1UL, 2045UL, 2046UL, 2047UL, 2048UL, 4093UL, 4094UL, 4095UL, 100000UL}) {
    CAPTURE(size);
    const std::string text = '"' + std::string(size, 'x') + '"';
    const Body body = Body::copy_of(text);
    CHECK(body.bytes == text);
    CHECK(body.is_plain_string);
    for (const std::size_t at : {std::size_t{1}, size / 2, size}) {
      if (at == 0 || at > size) continue;
      for (const char wrong : {'"', '\\', '\n', '\xC3'}) {
        std::string other = text;
        other[at] = wrong;
        CAPTURE(at);
        CHECK(Body::copy_of(other).bytes == other);
        CHECK_FALSE(Body::copy_of(other).is_plain_string);
      }
    }
    CHECK_FALSE(Body::copy_of(text.substr(1)).is_plain_string);
    CHECK_FALSE(Body::copy_of(text.substr(0, size + 1)).is_plain_string);
    CHECK_FALSE(Body::copy_of(text + "x").is_plain_string);
    CHECK_FALSE(Body::copy_of(text + '"').is_plain_string);
    CHECK_FALSE(Body::copy_of("x" + text).is_plain_string);
  }
  CHECK_FALSE(Body::copy_of("").is_plain_string);
}
