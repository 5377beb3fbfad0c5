#include "wire/printable.h"

#include <string>

#include "support/tidy.h"
#include "unit/expect.h"
#include "wire/json_text.h"
#include "wire/nearest.h"
#include "wire/utf8.h"

using namespace ipcm;
using namespace std::string_literals;
using ipcm::test::repeated;
using ipcm::test::Tidy;
using wire::nearest;
using wire::printable;

TEST_CASE_FIXTURE(Tidy, "printable: characters that a terminal shows as themselves are unchanged") {
  for (const char* text : {"", "echo", "a b", "it's \"quoted\" \\ /", "ü€𝄞", "日本語", "👩‍🔬"})
    CHECK(printable(text) == text);
}

TEST_CASE_FIXTURE(Tidy, "printable: control characters, broken UTF-8 and marks of direction are escaped") {
  CHECK(printable("a\nb\tc\rd") == "a\\nb\\tc\\rd");
  CHECK(printable("evil\n\x1b[2Jipcm: all is well") == "evil\\n\\x1b[2Jipcm: all is well");
  CHECK(printable("\0\a\b\x7f"s) == "\\x00\\x07\\x08\\x7f");
  CHECK(printable("\xc2\x9b"
                  "2J") == "\\u{9b}2J");  // the 8-bit control sequence introducer
  CHECK(printable("\xff\xfe") == "\\xff\\xfe");
  CHECK(printable("\xc3") == "\\xc3");
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // half of a surrogate pair
  CHECK(printable("gpj.\u202eexe") == "gpj.\\u{202e}exe");
  CHECK(printable("a\u2028b\ufeff\u2066") == "a\\u{2028}b\\u{feff}\\u{2066}");
  CHECK(printable("\U000e0041") == "\\u{e0041}");
}

TEST_CASE_FIXTURE(Tidy, "printable: any bytes become UTF-8 without control characters") {
  for (unsigned first = 0; first < 256; ++first)
    for (unsigned second = 0; second < 256; ++second) {
      const std::string shown = printable(std::string{static_cast<char>(first), static_cast<char>(second)});
      const bool fine = wire::is_utf8(shown) && shown.find_first_of("\x1b\n\r\x7f") == std::string::npos;
      if (fine && printable(shown) == shown) continue;
      CAPTURE(first);
      CAPTURE(second);
      CHECK(fine);
      CHECK(printable(shown) == shown);
    }
}

TEST_CASE_FIXTURE(Tidy, "printable: newlines may be kept") {
  CHECK(printable("a\nb\x1b", 100, wire::Newlines::kept) == "a\nb\\x1b");
}

TEST_CASE_FIXTURE(Tidy, "printable: a long text is cut between characters, and its length is told") {
  CHECK(printable("abcdef", 6) == "abcdef");
  CHECK(printable("abcdef", 5) == "abcde… (6 bytes)");
  CHECK(printable("abü", 3) == "ab… (4 bytes)");
  CHECK(printable("ab\x1b", 3) == "ab… (3 bytes)");
  CHECK(wire::printable_name(repeated("x", 100'000)).size() < 300);
}

TEST_CASE_FIXTURE(Tidy, "readable JSON: characters that a terminal would not show stay escaped") {
  CHECK(wire::to_readable(R"("\u20ac\u202e\u2028\ufeff\u200f\u009b")") ==
        "\"€\\u202e\\u2028\\ufeff\\u200f\\u009b\"");
  CHECK(wire::to_readable("\"a\x7f\"") == "\"a\\u007f\"");
  CHECK(wire::to_readable(R"("\udb40\udc41\ud834\udd1e")") == "\"\\udb40\\udc41𝄞\"");
}

TEST_CASE_FIXTURE(Tidy, "nearest: a word that was mistyped finds the one that was meant") {
  const std::vector<std::string> verbs = {"run", "start", "stop", "request", "session"};
  CHECK(nearest("rnu", verbs) == "run");
  CHECK(nearest("strat", verbs) == "start");
  CHECK(nearest("START", verbs) == "start");
  CHECK(nearest("requst", verbs) == "request");
  CHECK(nearest("sess", verbs) == "session");
  CHECK(nearest("frobnicate", verbs).empty());
  CHECK(nearest("", verbs).empty());
  CHECK(nearest("x", verbs).empty());
  CHECK(nearest(repeated("run", 1000), verbs).empty());
  CHECK(wire::did_you_mean("ecko", {"echo"}) == " (did you mean 'echo'?)");
  CHECK(wire::did_you_mean("ecko", {}).empty());
}
