#include "wire/json_scan.h"
#include "wire/json_text.h"

#include <string>
#include <string_view>

#include "ipcm/content.h"
#include "ipcm/error.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using namespace std::string_literals;
using ipcm::test::contains;
using ipcm::test::error_of;
using ipcm::test::repeated;
using ipcm::test::Tidy;

namespace {

std::string refusal(std::string_view text) {
  return error_of([&] { (void)Content::json(text); });
}

std::string nested(std::size_t depth) { return repeated("[", depth) + repeated("]", depth); }

}  // namespace

TEST_CASE_FIXTURE(Tidy, "content: JSON text keeps its spelling and becomes pure ASCII") {
  CHECK(Content::json(" {\"a\": 1.50, \"ü\":\"€𝄞\"} ").json() ==
        R"({"a": 1.50, "\u00fc":"\u20ac\ud834\udd1e"})");
}

TEST_CASE_FIXTURE(Tidy, "json: every kind of value is taken as it is written") {
  for (const char* text : {"null", "true", "false", "0", "-0", "-1.5e+10", "18446744073709551615", "\"\"",
                           R"("\"\\\/\b\f\n\r\t\u0000")", "[]", "{}", "[[],{}]", R"({"":0})",
                           R"({"a":{"a":1}})", "[1 ,\t2\n,\r3]", "\"\x7f\""}) {
    CAPTURE(std::string(text));
    CHECK(Content::json(text).json() == text);
  }
}

TEST_CASE_FIXTURE(Tidy, "json: white space around the value is no part of it") {
  CHECK(Content::json(" \t\r\n7\n").json() == "7");
  CHECK(Content::json("\n null \n").is_null());
}

TEST_CASE_FIXTURE(Tidy, "json: a default content is null") {
  CHECK(Content().is_null());
  CHECK(Content(nullptr).json() == "null");
}

TEST_CASE_FIXTURE(Tidy, "json: text that ends too early is refused with the place where more was expected") {
  CHECK(contains(refusal(R"({"a":1)"), "the text is not JSON: "));
  CHECK(contains(refusal(R"({"a":1)"), "at line 1, column 7"));
  CHECK(contains(refusal("[1,2"), "at line 1, column 5"));
  CHECK(contains(refusal("tru"), "the text is not JSON: "));
  CHECK(contains(refusal("\"abc"), "the text is not JSON: "));
  CHECK(contains(refusal(""), "at line 1, column 1"));
  CHECK(contains(refusal("  "), "at line 1, column 3"));
}

TEST_CASE_FIXTURE(Tidy, "json: text that is almost JSON is refused") {
  for (const char* text : {"{",
                           "[",
                           "}",
                           "]",
                           ",",
                           ":",
                           "{]",
                           "[}",
                           "[1,]",
                           "{\"a\":1,}",
                           "{,}",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{a:1}",
                           "{1:1}",
                           "{'a':1}",
                           "'a'",
                           "[1 2]",
                           "[1,,2]",
                           "01",
                           "-",
                           "+1",
                           ".5",
                           "1.",
                           "1e",
                           "1e+",
                           "0x10",
                           "-01",
                           "nan",
                           "NaN",
                           "Infinity",
                           "-Infinity",
                           "nul",
                           "True",
                           "// x\n1",
                           "/**/1",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\u12G4\"",
                           "\"\\",
                           "\xEF\xBB\xBF[]",
                           "undefined",
                           "{\"a\":1 \"b\":2}",
                           "[\"a\":1]"}) {
    CAPTURE(std::string(text));
    CHECK(contains(refusal(text), "the text is not JSON: "));
  }
}

TEST_CASE_FIXTURE(Tidy, "json: text after the value is refused with its place") {
  CHECK(contains(refusal("[1,2] x"), "at line 1, column 7"));
  CHECK(contains(refusal("1 2"), "at line 1, column 3"));
  CHECK(contains(refusal("{}{}"), "at line 1, column 3"));
}

TEST_CASE_FIXTURE(Tidy, "json: a NUL byte is refused with its place, wherever it stands") {
  CHECK(contains(refusal("1\0"s), "a NUL byte, at line 1, column 2"));
  CHECK(contains(refusal("[1]\0[2]"s), "at line 1, column 4"));
  CHECK(contains(refusal("\0"s), "the text is not JSON"));
  CHECK(contains(refusal("[1,\0 2]"s), "at line 1, column 4"));
  CHECK(contains(refusal("\"a\0b\""s), "the text is not JSON"));
}

TEST_CASE_FIXTURE(Tidy, "json: raw control characters in a string are refused with their place") {
  for (char c = 1; c < 0x20; ++c) {
    CAPTURE(static_cast<int>(c));
    CHECK(contains(refusal("\"a"s + c + "b\""), "at line 1, column 3"));
  }
}

TEST_CASE_FIXTURE(Tidy, "json: a key that stands twice in one object is refused, and named") {
  CHECK(contains(refusal(R"({"a":1,"b":2,"a":3})"), "'a' twice"));
  CHECK(contains(refusal(R"([0,{"k":{"x":1,"x":1}}])"), "'x' twice in one object, at line 1, column 9"));
  CHECK(contains(refusal(R"({"a":1,"\u0061":2})"), "'a' twice"));
  CHECK(contains(refusal(R"({"":1,"":2})"), "'' twice"));
  CHECK(Content::json(R"({"a":{"a":1},"b":{"a":1}})").json() == R"({"a":{"a":1},"b":{"a":1}})");
  CHECK(Content::json(R"({"a":1,"A":2,"a ":3})").json() == R"({"a":1,"A":2,"a ":3})");
}

TEST_CASE_FIXTURE(Tidy, "json: nesting is limited to 500 levels") {
  CHECK(Content::json(nested(500)).json() == nested(500));
  CHECK(contains(refusal(nested(501)), "nested deeper than 500 levels"));
  CHECK(contains(refusal(repeated("{\"a\":", 501) + "1" + repeated("}", 501)),
                 "nested deeper than 500 levels"));
  CHECK(Content::json(repeated("[[]],", 0) + "[" + repeated("[[]],", 2000) + "[]]").json().size() > 2000);
}

TEST_CASE_FIXTURE(Tidy, "json: a million brackets are an error, not a crash") {
  CHECK(contains(refusal(std::string(1'000'000, '[')), "nested deeper than 500 levels"));
  CHECK(contains(refusal(repeated("{\"a\":", 1'000'000)), "nested deeper than 500 levels"));
  CHECK(contains(refusal(repeated("[{\"a\":", 500'000)), "nested deeper than 500 levels"));
}

TEST_CASE_FIXTURE(Tidy, "json: broken UTF-8 in a text is refused with its place") {
  for (const char* bytes : {"\xff", "\x80", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
                            "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xe2\x82"}) {
    CAPTURE(std::string(bytes));
    CHECK(contains(refusal("\"ab"s + bytes + "\""), "the text is not JSON: "));
    CHECK(contains(refusal("{\""s + bytes + "\":1}"), "the text is not JSON: "));
  }
  CHECK(contains(refusal("\xc3\xbc"), "at line 1, column 1"));  // outside a string
}

TEST_CASE_FIXTURE(Tidy, "json: the escape of half a surrogate pair is refused") {
  for (const char* text :
       {R"("\ud800")", R"("\ud834x")", R"("\ud834\n")", R"("\ud834\u0041")", R"("\ud834\ud834")",
        R"("\udc00")", R"("x\udfff")", R"("\udd1e\ud834")", R"({"\udc00":1})"}) {
    CAPTURE(std::string(text));
    CHECK(contains(refusal(text), "the text is not JSON: "));
  }
  CHECK(Content::json(R"("\uD834\uDD1E")").as<std::string>() == "𝄞");
}

TEST_CASE_FIXTURE(Tidy, "json: characters become escapes that every reader understands") {
  CHECK(wire::to_ascii("\"\xc2\x80\"") == R"("\u0080")");
  CHECK(wire::to_ascii("\"\xdf\xbf\"") == R"("\u07ff")");
  CHECK(wire::to_ascii("\"\xe0\xa0\x80\"") == R"("\u0800")");
  CHECK(wire::to_ascii("\"\xef\xbf\xbf\"") == R"("\uffff")");
  CHECK(wire::to_ascii("\"\xf0\x90\x80\x80\"") == R"("\ud800\udc00")");
  CHECK(wire::to_ascii("\"\xf4\x8f\xbf\xbf\"") == R"("\udbff\udfff")");
  CHECK(wire::to_ascii(R"({"a\n":"\u00fc"})") == R"({"a\n":"\u00fc"})");
  CHECK(wire::is_ascii("\x7f"));
  CHECK_FALSE(wire::is_ascii("\x80"));
  CHECK(wire::is_ascii(""));
}

TEST_CASE_FIXTURE(Tidy, "json: readable text stands on one line and has characters for escapes") {
  CHECK(Content::json("{ \"a b\" : [ 1 ,\r\n\t2 ] }").readable() == R"({"a b":[1,2]})");
  CHECK(Content::json(R"("\u00fc \u20ac \ud834\udd1e")").readable() == "\"ü € 𝄞\"");
  CHECK(Content::json(R"("\u00FC\uD834\uDD1E")").readable() == "\"ü𝄞\"");
  CHECK(Content::json(R"("\u00a0\ud7ff\ue000\uffff")").readable() == "\"\u00a0\ud7ff\ue000\uffff\"");
}

TEST_CASE_FIXTURE(Tidy, "json: readable text keeps the escapes that keep it one line and valid") {
  for (const char* text : {R"("a\nb\tc\"d\\e\/f")", R"("\u0000\u001b\u0080\u009f")", R"("\\u00fc")",
                           R"("\"\\\"")", R"("ends in \\")"}) {
    CAPTURE(std::string(text));
    CHECK(Content::json(text).readable() == text);
  }
  CHECK(Content::json(R"("\\\u00fc")").readable() == "\"\\\\ü\"");
  CHECK(Content::json(R"(["\"", " x "])").readable() == R"(["\""," x "])");
}

TEST_CASE_FIXTURE(Tidy, "json: readable text means the same") {
  const Content before = Content::json(R"({"k\u00fc":["\ud834\udd1e\u0000\u009f\\", 1.50, null]})");
  CHECK(Content::json(before.readable()).readable() == before.readable());
  CHECK(Content::json(before.readable()).as<std::map<std::string, Content>>().contains("kü"));
}

TEST_CASE_FIXTURE(Tidy, "json: a string is quoted and escaped to pure ASCII") {
  CHECK(wire::json_string("") == R"("")");
  CHECK(wire::json_string("a/b\x7f") == "\"a/b\x7f\"");
  CHECK(wire::json_string("\"\\\b\f\n\r\t") == R"("\"\\\b\f\n\r\t")");
  CHECK(wire::json_string("\0\x01\x1f"s) == R"("\u0000\u0001\u001f")");
  CHECK(wire::json_string("ü€𝄞") == R"("\u00fc\u20ac\ud834\udd1e")");
  std::string text = "[";
  wire::append_json_string(text, "x");
  CHECK(text == R"(["x")");
}

TEST_CASE_FIXTURE(Tidy, "json: a string that is not UTF-8 is refused with the place of its wrong byte") {
  CHECK(contains(error_of([] { (void)wire::json_string("ab\xff"); }), "wrong byte at 2"));
  CHECK(contains(error_of([] { (void)wire::json_string("\xc3"); }), "wrong byte at 0"));
  CHECK(contains(error_of([] { (void)wire::json_string("ü\xc3("); }), "wrong byte at 2"));
  CHECK(
      contains(error_of([] { (void)wire::json_string("\xed\xa0\x80"); }), "wrong byte at 0"));  // a surrogate
  CHECK(contains(error_of([] { (void)wire::json_string("\xc0\xaf"); }), "wrong byte at 0"));    // overlong
  CHECK(contains(error_of([] { (void)wire::json_string("\xf4\x90\x80\x80"); }),
                 "wrong byte at 0"));  // too large
  CHECK(contains(error_of([] { (void)Content("\xff"); }), "wrong byte at 0"));
}

TEST_CASE_FIXTURE(Tidy, "json: in texts that must get through, U+FFFD replaces broken UTF-8") {
  using wire::BrokenUtf8;
  CHECK(wire::json_string("a\xff"
                          "b",
                          BrokenUtf8::replaced) == R"("a\ufffdb")");
  CHECK(wire::json_string("\xff\xfe", BrokenUtf8::replaced) == R"("\ufffd\ufffd")");
  CHECK(wire::json_string("ü\xc3", BrokenUtf8::replaced) == R"("\u00fc\ufffd")");
  CHECK(wire::json_string("\xc3ü", BrokenUtf8::replaced) == R"("\ufffd\u00fc")");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = "<"s + static_cast<char>(byte) + ">";
    CAPTURE(byte);
    CHECK_NOTHROW(wire::check_json(wire::json_string(text, BrokenUtf8::replaced), "it"));
  }
}

TEST_CASE_FIXTURE(Tidy, "json: every character comes back as it was") {
  std::string all;
  for (std::uint32_t point = 0; point < 0x110000; point += point < 0x900 ? 1 : 61) {
    if (point >= 0xD800 && point < 0xE000) continue;
    const auto put = [&](std::uint32_t byte) { all.push_back(static_cast<char>(byte)); };
    if (point < 0x80)
      put(point);
    else if (point < 0x800)
      put(0xC0U | (point >> 6U)), put(0x80U | (point & 0x3FU));
    else if (point < 0x10000)
      put(0xE0U | (point >> 12U)), put(0x80U | ((point >> 6U) & 0x3FU)), put(0x80U | (point & 0x3FU));
    else
      put(0xF0U | (point >> 18U)), put(0x80U | ((point >> 12U) & 0x3FU)),
          put(0x80U | ((point >> 6U) & 0x3FU)), put(0x80U | (point & 0x3FU));
  }
  const Content content(all);
  CHECK(wire::is_ascii(content.json()));
  CHECK(content.as<std::string>() == all);
  CHECK(Content::json(content.readable()).as<std::string>() == all);
}

TEST_CASE_FIXTURE(Tidy, "json: text without an end is not read past") {
  const std::string_view three = std::string_view("[1]]]]]").substr(0, 3);
  CHECK(Content::json(three).json() == "[1]");
  CHECK(contains(refusal(std::string_view("\"ab\"").substr(0, 3)), "the text is not JSON"));
  CHECK(contains(refusal(std::string_view("\"\\u00fc\"").substr(0, 5)), "the text is not JSON"));
}

TEST_CASE_FIXTURE(Tidy, "content: two contents are equal when their text is the same to the byte") {
  CHECK(Content::json("[1]") == Content(std::vector<int>{1}));
  CHECK_FALSE(Content::json("[1]") == Content::json("[ 1]"));
  CHECK_FALSE(Content::json("1") == Content("1"));
}
