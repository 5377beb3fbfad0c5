#include "wire/json_scan.h"

#include <string>
#include <string_view>
#include <vector>

#include "support/tidy.h"
#include "unit/dice.h"
#include "unit/expect.h"
#include "unit/rapidjson.h"
#include "wire/json_check.h"
#include "wire/top_level.h"
#include "wire/utf8.h"

using namespace ipcm;
using namespace ipcm::wire;
using namespace std::string_literals;
using ipcm::test::contains;
using ipcm::test::Dice;
using ipcm::test::error_of;
using ipcm::test::repeated;
using ipcm::test::Tidy;

namespace {

/// A visitor that records its calls, one on each line.
struct Recorder {
  std::string told = "\n";

  static std::string range(std::size_t begin, std::size_t end) {
    return std::to_string(begin) + "-" + std::to_string(end) + "\n";
  }
  bool scalar(ScalarKind kind, std::size_t begin, std::size_t end, std::string_view decoded) {
    told.append(std::to_string(static_cast<int>(kind)) + " " + std::string(decoded) + " " +
                range(begin, end));
    return true;
  }
  bool open(bool is_object, std::size_t begin) {
    told.append((is_object ? "{ " : "[ ") + std::to_string(begin) + "\n");
    return true;
  }
  bool close(std::size_t end) {
    told.append("close " + std::to_string(end) + "\n");
    return true;
  }
  bool key(std::string_view decoded) {
    told.append("key " + std::string(decoded) + "\n");
    return true;
  }
  static std::string failure() { return "refused"; }
};

/// A generator of documents of all shapes, with the expected calls.
class Author {
 public:
  explicit Author(Dice& dice) : dice_(dice) {}
  std::string text;
  Recorder expected;

  void value(std::size_t depth = 0) {
    space();
    const std::size_t begin = text.size();
    const std::size_t shape = dice_.below(depth < 6 ? 8 : 5);
    if (shape >= 5) {
      nest(shape == 5, begin, depth);
    } else if (shape >= 3) {
      const std::string decoded = string();
      expected.scalar(ScalarKind::string, begin, text.size(), decoded);
    } else {
      static const char* const kNumbers[] = {
          "0", "-0", "17", "-1.50", "1e5", "2.5E-10", "18446744073709551616"};
      static const char* const kWords[] = {"true", "false"};
      text += shape == 0 ? "null" : shape == 1 ? kWords[dice_.below(2)] : kNumbers[dice_.below(7)];
      const ScalarKind kinds[] = {ScalarKind::null, ScalarKind::boolean, ScalarKind::number};
      expected.scalar(kinds[shape], begin, text.size(), {});
    }
    space();
  }

 private:
  void space() {
    for (std::size_t n = dice_.below(5); n > 2; --n) text += " \t\r\n"[dice_.below(4)];
  }
  std::string string() {
    static const std::pair<const char*, std::string> kParts[] = {
        {"a", "a"},
        {"plain words of more than eight bytes", "plain words of more than eight bytes"},
        {"\\n", "\n"},
        {"\\\"", "\""},
        {"\\\\", "\\"},
        {"\\/", "/"},
        {"\\u0000", "\0"s},
        {"\\u00fC", "ü"},
        {"\\uD834\\udd1e", "𝄞"},
        {"€", "€"},
        {"𝄞", "𝄞"},
        {"\x7f", "\x7f"},
        {"{[,:", "{[,:"},
        {"\\b\\f\\r\\t", "\b\f\r\t"}};
    std::string decoded;
    text += '"';
    for (std::size_t n = dice_.below(4); n > 0; --n) {
      const auto& [written, meant] = kParts[dice_.below(std::size(kParts))];
      text += written;
      decoded += meant;
    }
    text += '"';
    return decoded;
  }
  void nest(bool is_object, std::size_t begin, std::size_t depth) {
    expected.open(is_object, begin);
    text += is_object ? '{' : '[';
    space();
    for (std::size_t n = 0, count = dice_.below(4); n < count; ++n) {
      if (n > 0) text += ',';
      if (is_object) {
        space();
        expected.key(string());
        space();
        text += ':';
      }
      value(depth + 1);
    }
    text += is_object ? '}' : ']';
    expected.close(text.size());
  }

  Dice& dice_;
};

enum class Verdict { valid, invalid, number_too_big };

struct WholeStrings : rapidjson::BaseReaderHandler<rapidjson::UTF8<>, WholeStrings> {
  static bool Default() { return true; }
  static bool String(const char* text, rapidjson::SizeType size, bool) { return is_utf8({text, size}); }
  static bool Key(const char* text, rapidjson::SizeType size, bool) { return is_utf8({text, size}); }
};

/// Returns the verdict of RapidJSON. It differs in two cases: RapidJSON takes a NUL byte for the end, and the
/// second half of a surrogate pair for a character.
Verdict by_rapidjson(std::string_view text) {
  constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag |
                              rapidjson::kParseNumbersAsStringsFlag;
  WholeStrings handler;
  rapidjson::MemoryStream stream(text.data(), text.size());
  rapidjson::Reader reader;
  const auto result = reader.Parse<kFlags>(stream, handler);
  if (result.Code() == rapidjson::kParseErrorNumberTooBig) return Verdict::number_too_big;
  return !result.IsError() && stream.Tell() == text.size() ? Verdict::valid : Verdict::invalid;
}

bool is_json(std::string_view text) {
  try {
    Recorder recorder;
    scan_json(text, "it", recorder);
    return true;
  } catch (const ProtocolError&) {
    return false;
  }
}

/// Checks that the scan, the check, and the scan that skips nested values accept the same texts.
void check_agreement(const std::string& text, bool valid) {
  CAPTURE(text);
  CHECK(is_json(text) == valid);
  CHECK(is_ascii_json(text) == (valid && is_ascii(text)));
  if (!valid) return;  // inside an object, "1}, {" could be valid
  const std::string object = R"({"a":1,"b":)" + text + "}";
  std::string_view raw;
  for_each_member(object, "it",
                  [&](std::string_view key, MemberKind, std::string_view told, std::string_view) {
                    if (key == "b") raw = told;
                    return true;
                  });
  const auto first = text.find_first_not_of(" \t\r\n"), last = text.find_last_not_of(" \t\r\n");
  CHECK(raw == text.substr(first, last - first + 1));
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "JSON scan: the visitor gets the begin, end and text of every value") {
  Dice dice;
  for (int i = 0; i < 3000; ++i) {
    Author author(dice);
    author.value();
    CAPTURE(author.text);
    Recorder recorder;
    scan_json(author.text, "it", recorder);
    CHECK(recorder.told == author.expected.told);
    check_agreement(author.text, true);
  }
}

TEST_CASE_FIXTURE(Tidy, "JSON scan: accepts and refuses the same texts as RapidJSON") {
  constexpr std::string_view kLikely =
      "{}[]\",:\\u0123456789dDaAfFeE+-. \n\ttruefalsn\x01\x1f\x7f\x80\xBF\xC3\xE2\xED\xA0\xF0\xF4\xFF";
  Dice dice;
  int valid = 0, invalid = 0;
  for (int i = 0; i < 40000; ++i) {
    Author author(dice);
    author.value(3);
    std::string text = author.text;
    for (std::size_t n = dice.below(4); n > 0 && !text.empty(); --n) {
      const std::size_t at = dice.below(text.size());
      const char c = dice.below(40) == 0 ? '\0' : kLikely[dice.below(kLikely.size())];
      const std::size_t change = dice.below(4);
      if (change == 0) text[at] = c;
      if (change == 1) text.insert(at, 1, c);
      if (change == 2) text.erase(at, 1);
      if (change == 3) text.resize(at);
    }
    const Verdict verdict = by_rapidjson(text);
    if (verdict == Verdict::number_too_big) continue;
    check_agreement(text, verdict == Verdict::valid);
    ++(verdict == Verdict::valid ? valid : invalid);
  }
  CHECK(valid > 5000);
  CHECK(invalid > 5000);
}

TEST_CASE_FIXTURE(Tidy, "JSON scan: every pair of bytes in a string is judged as RapidJSON judges it") {
  for (int first = 0; first < 256; ++first)
    for (int second = 0; second < 256; ++second) {
      // Eight plain bytes follow, so that the check reads all of it at once.
      const std::string bytes = {static_cast<char>(first), static_cast<char>(second)};
      for (const std::string& text : {"\"" + bytes + "\"", "\"abc" + bytes + "\x80 12345678\""}) {
        CAPTURE(first);
        CAPTURE(second);
        CHECK(is_json(text) == (by_rapidjson(text) == Verdict::valid));
      }
    }
}

TEST_CASE_FIXTURE(Tidy, "JSON scan: skipped values are checked as strictly") {
  for (const char* text :
       {"[1,]", "{\"a\"}", "[\"\x01\"]", "[\"\xff\"]", "[\"\\ud834\"]", "[01]", "[nul]", "[1}", "["}) {
    CAPTURE(std::string(text));
    const std::string object = R"({"a":1,"b":)" + std::string(text) + "}";
    const auto any = [](std::string_view, MemberKind, std::string_view, std::string_view) { return true; };
    CHECK(contains(error_of([&] { for_each_member(object, "it", any); }), "it is not JSON: "));
  }
}

TEST_CASE_FIXTURE(Tidy, "JSON scan: a number that no double holds is a number") {
  CHECK(by_rapidjson("1e400") == Verdict::number_too_big);
  for (const char* number : {"1e400", "-1e400", "1e99999999999999999999", "1e-99999999999999999999"})
    CHECK(is_json(number));
}

TEST_CASE_FIXTURE(Tidy, "JSON scan: it stops at the end of the text, wherever that is") {
  const std::string text = R"({"a\u00fc":[1.5e+7,true,null,"€ and more of it"]})";
  for (std::size_t size = 0; size < text.size(); ++size) {
    const std::vector<char> exact(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_FALSE(is_json({exact.data(), exact.size()}));
  }
}

TEST_CASE_FIXTURE(Tidy, "JSON scan: errors say what was expected, and where") {
  const auto refusal = [](std::string_view text, std::size_t deepest = kDeepest) {
    Recorder recorder;
    return error_of([&] { scan_json(text, "it", recorder, deepest); });
  };
  CHECK(contains(refusal(R"({"a":1 "b":2})"),
                 "it is not JSON: expected a comma or }, found '\"b', at line 1, column 8"));
  CHECK(contains(refusal("[1 2]"), "expected a comma or ], found '2', at line 1, column 4"));
  CHECK(contains(refusal("[1,]"), "expected a value, found ']', at line 1, column 4"));
  CHECK(contains(refusal("{1:2}"), "expected a key in quotes, found '1', at line 1, column 2"));
  CHECK(contains(refusal(R"({"a" 1})"), "expected a colon, found '1', at line 1, column 6"));
  CHECK(contains(refusal("1 x"), "text follows the value, found 'x', at line 1, column 3"));
  CHECK(contains(refusal("1.x"), "expected a digit, found 'x', at line 1, column 3"));
  CHECK(contains(refusal(R"("\x")"), "an unknown escape, found '\\x', at line 1, column 2"));
  CHECK(
      contains(refusal(R"("\u12G4")"), "expected four hexadecimal digits, found 'G4', at line 1, column 6"));
  CHECK(contains(refusal(R"("a\ud834\n")"),
                 "half of a surrogate pair, found '\\ud834\\n', at line 1, column 3"));
  CHECK(contains(refusal("\"a\nb\""), "a control character in a string, found '\\nb', at line 1, column 3"));
  CHECK(contains(refusal("\"ab\xff\""), "broken UTF-8, found '\\xff', at line 1, column 4"));
  CHECK(contains(refusal("\"ab"), "it ends too early, at line 1, column 4"));
  CHECK(contains(refusal("[\0]"s), "a NUL byte, at line 1, column 2"));
  CHECK(contains(refusal("[[[1]]]", 2), "nested deeper than 2 levels, found '[', at line 1, column 3"));
  CHECK(contains(refusal("[[1[", 2), "expected a comma or ], found '[', at line 1, column 4"));
  CHECK(contains(refusal(repeated("[", 1000), 10000), "nested deeper than 511 levels"));
}

TEST_CASE_FIXTURE(Tidy, "JSON scan: errors count lines, and columns in characters") {
  const auto refusal = [](std::string_view text) {
    Recorder recorder;
    return error_of([&] { scan_json(text, "it", recorder, kDeepest); });
  };
  CHECK(
      contains(refusal("{\n  \"a\": 1,\n  \"ü€𝄞\" 2}"), "expected a colon, found '2', at line 3, column 9"));
  CHECK(contains(refusal("[1,\n"), "it ends too early, at line 2, column 1"));
  CHECK(
      contains(refusal("\xEF\xBB\xBF{}"), "expected a value, found a byte order mark, at line 1, column 1"));
  CHECK(contains(refusal("[\x1b[2J]"), "found '\\x1b', at line 1, column 2"));
  CHECK(contains(refusal(repeated("x", 1000)), "found 'xxxxxxxxxxxxxxxxxxxx', at line 1, column 1"));
}
