#include "ipcm/json_archive.h"

#include <cereal/types/array.hpp>
#include <cereal/types/list.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/optional.hpp>
#include <cereal/types/unordered_map.hpp>
#include <cereal/types/utility.hpp>
#include <limits>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ipcm/content.h"
#include "ipcm/error.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using namespace std::string_literals;
using ipcm::test::contains;
using ipcm::test::error_of;
using ipcm::test::Tidy;

namespace {

enum class Color : std::uint8_t { red = 1, green = 2 };

struct Word {
  std::string text;
  int to = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(text), CEREAL_NVP(to));
  }
  friend bool operator==(const Word&, const Word&) = default;
};

struct Letter {
  std::string greeting;
  std::vector<Word> words;
  std::optional<int> limit;
  std::map<std::string, double> weights;
  Content extra;
  Color color = Color::red;
  bool loud = false;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(greeting), CEREAL_NVP(words), CEREAL_NVP(limit), CEREAL_NVP(weights),
            CEREAL_NVP(extra), CEREAL_NVP(color), CEREAL_NVP(loud));
  }
};

/// A struct with optional fields only.
struct Settings {
  std::string word = "hello";
  int times = 3;
  std::optional<std::string> file;
  Word first{"w", 1};
  template <class Archive>
  void serialize(Archive& archive) {
    archive(optional("word", word), optional("times", times), optional("file", file),
            optional("first", first));
  }
};

struct Words {
  std::vector<Word> words;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(words));
  }
};

struct Described {
  std::string name;
  int count = 0;
  unsigned many = 7;
  double ratio = 0.5;
  bool on = true;
  std::vector<std::string> list;
  Word word{"x", 2};
  Content any;
  std::optional<int> maybe;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(name), CEREAL_NVP(count), optional("many", many), optional("ratio", ratio),
            optional("on", on), optional("list", list), optional("word", word), CEREAL_NVP(any),
            optional("maybe", maybe));
  }
};

struct Empty {
  template <class Archive>
  void serialize(Archive&) {}
};

struct Tree {
  std::vector<Tree> below;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(below));
  }
};

template <class T>
T read(std::string_view json) {
  return Content::json(json).as<T>("args");
}
template <class T>
std::string refusal(std::string_view json) {
  return error_of([&] { (void)Content::json(json).as<T>("args"); });
}
template <class T>
std::string strict_refusal(std::string_view json) {
  return error_of([&] { (void)Content::json(json).as_strict<T>("args"); });
}

}  // namespace

TEST_CASE_FIXTURE(Tidy, "archive: plain values are written bare, without a wrapper") {
  CHECK(Content(true).json() == "true");
  CHECK(Content(0).json() == "0");
  CHECK(Content(-7).json() == "-7");
  CHECK(Content("a\nü").json() == R"("a\n\u00fc")");
  CHECK(Content(std::string()).json() == R"("")");
  CHECK(Content(std::vector<int>{1, 2}).json() == "[1,2]");
  CHECK(Content(std::list<std::string>{"a"}).json() == R"(["a"])");
  CHECK(Content(std::vector<int>{}).json() == "[]");
  CHECK(Content(std::vector<std::vector<int>>{{}, {1}}).json() == "[[],[1]]");
  CHECK(Content(std::vector<bool>{true, false}).json() == "[true,false]");
  CHECK(Content(std::array<int, 3>{1, 2, 3}).json() == "[1,2,3]");
  CHECK(Content(std::optional<int>{}).json() == "null");
  CHECK(Content(std::optional<int>{4}).json() == "4");
  CHECK(Content(std::vector<std::optional<int>>{{}, 1}).json() == "[null,1]");
  CHECK(Content(Color::green).json() == "2");
  CHECK(Content(Empty{}).json() == "{}");
}

TEST_CASE_FIXTURE(Tidy, "archive: maps with string keys are objects") {
  using Map = std::map<std::string, std::vector<int>>;
  const Map map{{"", {}}, {"a\"b", {1}}, {"ü", {2, 3}}};
  CHECK(Content(map).json() == R"({"":[],"a\"b":[1],"\u00fc":[2,3]})");
  CHECK(Content(map).as<Map>() == map);
  CHECK(Content(Map{}).json() == "{}");
  CHECK(read<Map>("{}").empty());
  const std::unordered_map<std::string, int> other{{"x", 1}};
  CHECK(Content(other).json() == R"({"x":1})");
  CHECK(Content(other).as<std::unordered_map<std::string, int>>() == other);
  CHECK(read<std::map<std::string, std::map<std::string, int>>>(R"({"a":{"b":1},"c":{}})").at("a").at("b") ==
        1);
}

TEST_CASE_FIXTURE(Tidy, "archive: a map's key may hold a NUL character") {
  const std::map<std::string, int> map{{"a\0b"s, 1}, {"a", 2}};
  CHECK(Content(map).json() == R"({"a":2,"a\u0000b":1})");
  CHECK(read<std::map<std::string, int>>(R"({"a\u0000b":1,"a":2})") == map);
}

TEST_CASE_FIXTURE(Tidy, "archive: a structure comes back as it was") {
  const Letter letter{"hü",
                      {{"a", -1}, {"", 2}},
                      std::nullopt,
                      {{"x", 0.1}, {"y", 1e20}},
                      Content::json(R"({"deep":[1.50,null]})"),
                      Color::green,
                      true};
  const Content content(letter);
  CHECK(content.json() ==
        R"({"greeting":"h\u00fc","words":[{"text":"a","to":-1},{"text":"","to":2}],"limit":null,)"
        R"("weights":{"x":0.1,"y":1e+20},"extra":{"deep":[1.50,null]},"color":2,"loud":true})");
  CHECK_NOTHROW((void)Content::json(content.json()));
  const auto back = content.as_strict<Letter>();
  CHECK(back.greeting == letter.greeting);
  CHECK(back.words == letter.words);
  CHECK(back.limit == letter.limit);
  CHECK(back.weights == letter.weights);
  CHECK(back.extra == letter.extra);
  CHECK(back.color == letter.color);
  CHECK(back.loud);
}

TEST_CASE_FIXTURE(Tidy, "archive: the order of keys does not matter") {
  CHECK(read<Word>(R"({"to":5,"text":"x"})") == Word{"x", 5});
  CHECK(read<Words>(R"({"z":[],"words":[{"to":1,"text":"a"},{"text":"b","to":2}]})").words ==
        std::vector<Word>{{"a", 1}, {"b", 2}});
}

TEST_CASE_FIXTURE(Tidy, "archive: an optional field keeps its default when its key is missing") {
  const auto none = read<Settings>("{}");
  CHECK(none.word == "hello");
  CHECK(none.times == 3);
  CHECK_FALSE(none.file);
  CHECK(none.first == Word{"w", 1});
  const auto some = read<Settings>(R"({"times":"4","file":"f","first":{"text":"t","to":9}})");
  CHECK(some.word == "hello");
  CHECK(some.times == 4);
  CHECK(some.file == "f");
  CHECK(some.first == Word{"t", 9});
}

TEST_CASE_FIXTURE(Tidy, "archive: an optional field that is there must fit") {
  CHECK(contains(refusal<Settings>(R"({"times":"x"})"), "args: 'times': expected an integer"));
  CHECK(contains(refusal<Settings>(R"({"times":null})"), "args: 'times': expected an integer"));
  CHECK(contains(refusal<Settings>(R"({"first":{"text":"t"}})"), "args: 'first': missing key 'to'"));
}

TEST_CASE_FIXTURE(Tidy, "archive: null is an optional without a value") {
  CHECK_FALSE(read<std::optional<int>>("null"));
  CHECK(read<std::optional<int>>("5") == 5);
  CHECK(read<std::vector<std::optional<std::string>>>(R"([null,"a",null])") ==
        std::vector<std::optional<std::string>>{{}, "a", {}});
  CHECK_FALSE(read<Settings>(R"({"file":null})").file);
  CHECK(read<std::optional<Word>>(R"({"text":"a","to":1})") == Word{"a", 1});
}

TEST_CASE_FIXTURE(Tidy, "archive: content inside a structure is that value itself") {
  const auto list = read<std::vector<Content>>(R"([ {"a": 1}, "x\u00fc",null,-1.5e+10 ,[[]]])");
  REQUIRE(list.size() == 5);
  CHECK(list[0].json() == R"({"a": 1})");
  CHECK(list[1].json() == R"("x\u00fc")");
  CHECK(list[2].is_null());
  CHECK(list[3].json() == "-1.5e+10");
  CHECK(list[4].json() == "[[]]");
  CHECK(Content(list).json() == R"([{"a": 1},"x\u00fc",null,-1.5e+10,[[]]])");
  CHECK(Content::json("[1]").as<Content>().json() == "[1]");
  CHECK(read<std::map<std::string, Content>>(R"({"k":{"n":{}}})").at("k").json() == R"({"n":{}})");
}

TEST_CASE_FIXTURE(Tidy, "archive: maps with other keys, pairs and arrays keep cereal's form") {
  const std::map<int, std::string> map{{1, "a"}, {2, "b"}};
  CHECK(Content(map).as<std::map<int, std::string>>() == map);
  const std::pair<int, std::string> pair{1, "x"};
  CHECK(Content(pair).as<std::pair<int, std::string>>() == pair);
  CHECK(read<std::array<int, 2>>("[3,4]") == std::array<int, 2>{3, 4});
  CHECK(contains(error_of([] { (void)read<std::array<int, 3>>("[3,4]"); }), "too few elements"));
}

TEST_CASE_FIXTURE(Tidy, "archive: a digit string is taken for a number, a number for a string") {
  CHECK(read<int>("\"7\"") == 7);
  CHECK(read<int>("\"-7\"") == -7);
  CHECK(read<unsigned>("\"7\"") == 7);
  CHECK(read<double>("\"1.5\"") == doctest::Approx(1.5));
  CHECK(read<double>("7") == doctest::Approx(7));
  CHECK(read<std::string>("7") == "7");
  CHECK(read<std::string>("-1.50") == "-1.50");
  CHECK(read<Color>("\"2\"") == Color::green);
}

TEST_CASE_FIXTURE(Tidy, "archive: a whole number is taken for an integer however it is spelt") {
  CHECK(read<int>("7.0") == 7);
  CHECK(read<int>("1e3") == 1000);
  CHECK(read<int>("\"1e3\"") == 1000);
  CHECK(read<std::int64_t>("-1e3") == -1000);
  CHECK(read<unsigned>("-0.0") == 0);
  for (const char* text : {"7.5", "1e-1", "\"7.5\"", "\"\"", "\" 7\"", "\"7 \"", "\"+7\"", "\"0x10\"",
                           "\"nan\"", "\"inf\"", "\"seven\"", "true", "null", "[]", "{}", "\"7\\u0000\""}) {
    CAPTURE(std::string(text));
    CHECK(contains(refusal<int>(text), "args: expected an integer from -2147483648 to 2147483647, found "));
    CHECK(contains(refusal<unsigned>(text), "args: expected an integer from 0 to 4294967295, found "));
  }
}

TEST_CASE_FIXTURE(Tidy, "archive: integers are taken up to the limits of their type, and not beyond") {
  CHECK(read<std::int8_t>("-128") == -128);
  CHECK(read<std::int8_t>("127") == 127);
  CHECK(contains(refusal<std::int8_t>("128"), "expected an integer from -128 to 127, found a number (128)"));
  CHECK(contains(refusal<std::int8_t>("-129"), "expected an integer"));
  CHECK(contains(refusal<std::uint8_t>("256"), "expected an integer from 0 to 255"));
  CHECK(contains(refusal<std::uint8_t>("-1"), "expected an integer from 0 to 255"));
  CHECK(read<std::int64_t>("9223372036854775807") == std::numeric_limits<std::int64_t>::max());
  CHECK(read<std::int64_t>("-9223372036854775808") == std::numeric_limits<std::int64_t>::min());
  CHECK(contains(refusal<std::int64_t>("9223372036854775808"), "expected an integer"));
  CHECK(contains(refusal<std::int64_t>("-9223372036854775809"), "expected an integer"));
  CHECK(read<std::uint64_t>("18446744073709551615") == std::numeric_limits<std::uint64_t>::max());
  CHECK(contains(refusal<std::uint64_t>("18446744073709551616"), "expected an integer"));
  CHECK(contains(refusal<std::uint64_t>("1e30"), "expected an integer"));
  CHECK(contains(refusal<std::uint64_t>("-1e3"), "expected an integer"));
  CHECK(read<std::int64_t>("9007199254740993") == 9007199254740993);  // no double has this value
  CHECK(contains(refusal<Color>("256"), "expected an integer from 0 to 255"));
  for (const auto number :
       {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()})
    CHECK(Content(number).as<std::int64_t>() == number);
  CHECK(Content(std::numeric_limits<std::uint64_t>::max()).json() == "18446744073709551615");
}

TEST_CASE_FIXTURE(Tidy, "archive: numbers come back as they were") {
  for (const double number : {0.0, 0.1, -1.5, 1e20, 1e308, 5e-324, 1795380997.93995, 1.0 / 3}) {
    CAPTURE(number);
    const Content content(number);
    CHECK_NOTHROW((void)Content::json(content.json()));
    CHECK(content.as<double>() == number);
  }
  CHECK(Content(0.1F).as<float>() == 0.1F);
}

TEST_CASE_FIXTURE(Tidy, "archive: numbers that JSON cannot express are refused in both directions") {
  CHECK(contains(error_of([] { (void)Content(std::numeric_limits<double>::quiet_NaN()); }), "NaN"));
  CHECK(contains(error_of([] { (void)Content(std::numeric_limits<double>::infinity()); }), "infinite"));
  CHECK(contains(error_of([] { (void)Content(std::vector<float>{std::numeric_limits<float>::quiet_NaN()}); }),
                 "NaN"));
  for (const char* text :
       {"\"nan\"", "\"inf\"", "\"-inf\"", "\"infinity\"", "\"0x1p3\"", "\"1e999\"", "\"\"", "null", "true"}) {
    CAPTURE(std::string(text));
    CHECK(contains(refusal<double>(text), "args: expected a number, found "));
  }
}

TEST_CASE_FIXTURE(Tidy, "archive: a number too large for a float is refused, not made infinite") {
  CHECK(read<float>("1e30") == doctest::Approx(1e30F));
  CHECK(contains(refusal<float>("1e300"), "args: expected a number"));
}

TEST_CASE_FIXTURE(Tidy, "archive: a boolean may have any of Perl's spellings") {
  for (const char* text : {"true", "1", "\"1\"", "\"true\""}) {
    CAPTURE(std::string(text));
    CHECK(read<bool>(text));
  }
  for (const char* text : {"false", "0", "\"0\"", "\"\"", "null", "\"false\""}) {
    CAPTURE(std::string(text));
    CHECK_FALSE(read<bool>(text));
  }
  for (const char* text : {"2", "-1", "\"yes\"", "\"null\"", "[]", "{}", "[1]"}) {
    CAPTURE(std::string(text));
    CHECK(contains(refusal<bool>(text), "args: expected a boolean, found "));
  }
}

TEST_CASE_FIXTURE(Tidy, "archive: strings are strings or numbers, nothing else") {
  for (const char* text : {"true", "null", "[]", "{}", "[\"a\"]"}) {
    CAPTURE(std::string(text));
    CHECK(contains(refusal<std::string>(text), "args: expected a string, found "));
  }
  CHECK(read<std::string>(R"("a\u0000\ud834\udd1e")") == "a\0𝄞"s);
}

TEST_CASE_FIXTURE(Tidy, "archive: broken UTF-8 is refused as value and as key") {
  CHECK(contains(error_of([] { (void)Content(Word{"a\xff", 1}); }), "wrong byte at 1"));
  CHECK(contains(error_of([] {
                   (void)Content(std::map<std::string, int>{{"\xff", 1}});
                 }),
                 "wrong byte at 0"));
}

TEST_CASE_FIXTURE(Tidy, "archive: an error names the path to the wrong value") {
  CHECK(refusal<Words>(R"({"words":[{"text":"a","to":1},{"text":"b","to":2},{"text":"c","to":"x"}]})") ==
        "args: 'words[2].to': expected an integer from -2147483648 to 2147483647, found a string (\"x\")");
  CHECK(refusal<Words>(R"({"words":[{"text":"a","to":1},{"text":"b"}]})") ==
        "args: 'words[1]': missing key 'to'");
  CHECK(refusal<Words>("{}") == "args: missing key 'words'");
  CHECK(contains(refusal<Words>(R"({"words":7})"), "args: 'words': expected "));
  CHECK(contains(refusal<Words>(R"({"words":7})"), "found a number (7)"));
  CHECK(contains(refusal<Words>(R"({"words":[[]]})"), "args: 'words[0]': expected an object"));
  CHECK(contains(refusal<Words>("7"), "args: expected "));
  CHECK(contains(refusal<Words>("[1]"), "args: expected an object, found an array"));
  CHECK(contains(refusal<std::vector<int>>("[1,2,null]"), "args: '[2]': expected an integer"));
  CHECK(contains(refusal<std::vector<std::vector<int>>>("[[],[1,\"x\"]]"),
                 "args: '[1][1]': expected an integer"));
  CHECK(contains(refusal<std::map<std::string, std::vector<int>>>(R"({"a":[],"b":[0,"x"]})"),
                 "args: 'b[1]': expected an integer"));
  CHECK(contains(refusal<std::map<std::string, int>>("[1]"), "args: expected an object, found an array"));
}

TEST_CASE_FIXTURE(Tidy, "archive: an error shows a long value cut short") {
  const std::string text = refusal<int>("\"" + std::string(10'000, 'x') + "\"");
  CHECK(contains(text, "xxx"));
  CHECK(text.size() < 200);
}

TEST_CASE_FIXTURE(Tidy,
                  "archive: unknown keys are passed over, or refused at any depth when that is wanted") {
  CHECK(read<Word>(R"({"text":"a","to":1,"more":{"x":[]}})") == Word{"a", 1});
  CHECK(strict_refusal<Word>(R"({"text":"a","to":1,"more":{}})") == "args: unknown key 'more'");
  CHECK(strict_refusal<Words>(R"({"words":[{"text":"a","to":1},{"text":"a","to":1,"tto":1}]})") ==
        "args: 'words[1]': unknown key 'tto' (did you mean 'to'?)");
  CHECK(strict_refusal<Settings>(R"({"wrod":"x"})") == "args: unknown key 'wrod' (did you mean 'word'?)");
  CHECK(Content::json(R"({"word":"x","first":{"to":1,"text":""}})").as_strict<Settings>().word == "x");
  CHECK(Content::json(R"({"any":1,"keys":2})").as_strict<std::map<std::string, int>>().size() == 2);
  CHECK(strict_refusal<Empty>(R"({"x":1})") == "args: unknown key 'x'");
}

TEST_CASE_FIXTURE(Tidy, "archive: an object is not taken for a list") {
  CHECK(contains(refusal<std::vector<int>>(R"({"a":1,"b":2})"), "args: expected an array"));
}

TEST_CASE_FIXTURE(Tidy, "archive: a list is not taken for a structure, though all its fields may be absent") {
  CHECK(contains(strict_refusal<Settings>("[1,2,3]"), "args: expected an object"));
  CHECK(contains(refusal<Settings>("[\"hello\"]"), "args: expected an object"));
}

TEST_CASE_FIXTURE(Tidy, "archive: no written text is too deep to be read") {
  Tree tree;
  for (int i = 0; i < 600; ++i) {
    Tree above;
    above.below.push_back(std::move(tree));
    tree = std::move(above);
  }
  CHECK_THROWS_AS((void)Content(tree), ProtocolError);
}

TEST_CASE_FIXTURE(Tidy, "archive: a structure describes its fields") {
  const auto fields = describe_fields<Described>();
  REQUIRE(fields.size() == 9);
  const auto check = [&](std::size_t at, const char* name, const char* type, bool required,
                         const char* value) {
    CAPTURE(name);
    CHECK(fields[at].name == name);
    CHECK(fields[at].type == type);
    CHECK(fields[at].required == required);
    CHECK(fields[at].default_value == value);
  };
  check(0, "name", "string", true, "");
  check(1, "count", "integer", true, "");
  check(2, "many", "integer", false, "7");
  check(3, "ratio", "number", false, "0.5");
  check(4, "on", "boolean", false, "true");
  check(5, "list", "array", false, "[]");
  check(6, "word", "object", false, R"({"text":"x","to":2})");
  check(7, "any", "any", true, "");
  check(8, "maybe", "any", false, "null");
  CHECK(describe_fields<Empty>().empty());
}
