#include "wire/envelope.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "ipcm/error.h"
#include "os/clock.h"
#include "support/tidy.h"
#include "unit/expect.h"
#include "wire/json_scan.h"
#include "wire/json_text.h"
#include "wire/parsed_content.h"

using namespace ipcm;
using namespace ipcm::wire;
using namespace std::string_literals;
using ipcm::test::contains;
using ipcm::test::error_of;
using ipcm::test::repeated;
using ipcm::test::Tidy;

namespace {

std::string envelope_refusal(std::string_view text) {
  return error_of([&] { (void)read_envelope(text, "me"); });
}

/// Messages that Perl sent.
constexpr const char* kRequest =
    R"({"id":"01A2050B-EF33-7769-9AB2-B6C36F6D7024","content":{"ipcm_request_id":"01A2050B-EF33-7C54-B7BE-570FED48A938","request":"hello"},"from":"service_parent_15745","stamp_ord":0,"stamp":1795380997.93995,"to":"svc"})";
constexpr const char* kResponse =
    R"({"content":{"response":{"got":"hello","list":[1,"2",null]},"ipcm_response_id":"01A2050B-EF33-7C54-B7BE-570FED48A938"},"from":"svc","stamp_ord":0,"to":"service_parent_15745","id":"01A2050B-EF36-740F-A83D-00A7E4F30A23","stamp":1795380997.94263})";
constexpr const char* kError =
    R"({"stamp":1795380997.94452,"to":"service_parent_15745","stamp_ord":0,"from":"svc","content":{"ipcm_error":"Internal service error","ipcm_response_id":"01A2050B-EF37-7F25-9D1C-FFF04BF370C0","response":null},"id":"01A2050B-EF38-7D4E-B012-6CE800986DB2"})";
constexpr const char* kTerminate =
    R"({"broadcast":1,"id":"01A2050B-EF3E-7A2E-98A1-3162CB700F75","stamp":1795380997.95052,"content":{"terminate":1},"from":"spawn","to":"svc","stamp_ord":0})";

}  // namespace

TEST_CASE_FIXTURE(Tidy, "envelope: messages from Perl are decoded") {
  const Message request = read_envelope(kRequest, "me");
  CHECK(request.id == "01A2050B-EF33-7769-9AB2-B6C36F6D7024");
  CHECK(request.from == "service_parent_15745");
  CHECK(request.to == "svc");
  CHECK(request.stamp == 1795380997.93995);
  CHECK(request.stamp_ord == 0);
  CHECK_FALSE(request.broadcast);
  CHECK(request.content.json() ==
        R"({"ipcm_request_id":"01A2050B-EF33-7C54-B7BE-570FED48A938","request":"hello"})");
  const auto asked = classify(request.content);
  CHECK(asked.meaning == Meaning::request);
  CHECK(asked.id == "01A2050B-EF33-7C54-B7BE-570FED48A938");
  CHECK(asked.payload.json() == R"("hello")");

  const auto answer = classify(read_envelope(kResponse, "me").content);
  CHECK(answer.meaning == Meaning::response);
  CHECK(answer.id == asked.id);
  CHECK(answer.payload.json() == R"({"got":"hello","list":[1,"2",null]})");
  CHECK(answer.error.empty());

  const auto error = classify(read_envelope(kError, "me").content);
  CHECK(error.meaning == Meaning::response);
  CHECK(error.error == "Internal service error");
  CHECK(error.payload.is_null());

  const Message last = read_envelope(kTerminate, "me");
  CHECK(last.broadcast);
  CHECK(last.from == "spawn");
  CHECK(classify(last.content).meaning == Meaning::terminate);
}

TEST_CASE_FIXTURE(Tidy, "envelope: numbers may come as strings, and names as numbers") {
  const Message message =
      read_envelope(R"({"stamp":"1795380997.5","stamp_ord":"12","from":7,"to":8,"id":9,"content":1})", "me");
  CHECK(message.stamp == 1795380997.5);
  CHECK(message.stamp_ord == 12);
  CHECK(message.from == "7");
  CHECK(message.to == "8");
  CHECK(message.id == "9");
}

TEST_CASE_FIXTURE(Tidy, "envelope: optional members get their defaults") {
  for (const char* text :
       {R"({"from":"a","content":0})",
        R"({"from":"a","content":0,"id":null,"to":null,"stamp":null,"stamp_ord":null,"broadcast":null})",
        R"({"from":"a","content":0,"id":"","to":"","stamp":"x","stamp_ord":[]})"}) {
    CAPTURE(std::string(text));
    const double before = os::wall_clock_seconds();
    const Message message = read_envelope(text, "me");
    CHECK(message.id.size() == 36);
    CHECK(message.to == "me");
    CHECK(message.stamp >= before);
    CHECK(message.stamp <= os::wall_clock_seconds());
    CHECK(message.stamp_ord == 0);
    CHECK_FALSE(message.broadcast);
  }
  CHECK(read_envelope(R"({"from":"a","content":0})", "me").id !=
        read_envelope(R"({"from":"a","content":0})", "me").id);
}

TEST_CASE_FIXTURE(Tidy, "envelope: a stamp is written as printf writes five digits, however large it is") {
  for (const double stamp :
       {0.0, 1.0, 0.000005, 0.5000050, 1795380997.93995, 1795380997.999999, 0.1 + 0.2, 123456.123455,
        123456.123465, 9007199254740993.0, 1e300, 1.7976931348623157e308}) {
    std::array<char, 400> digits{};
    std::snprintf(digits.data(), digits.size(), ",\"stamp\":%.5f,", stamp);
    CHECK(contains(write_envelope({"i", "a", "b", stamp, 7, false, Content(1)}), digits.data()));
  }
}

TEST_CASE_FIXTURE(Tidy,
                  "envelope: a stamp that is no number in time does not get in, or nothing could be sorted") {
  for (const char* stamp :
       {"\"nan\"", "\"NaN\"", "\"-nan\"", "\"inf\"", "\"-inf\"", "\"infinity\"", "\"1e999\""}) {
    CAPTURE(std::string(stamp));
    const Message message = read_envelope(R"({"from":"a","content":0,"stamp":)"s + stamp + "}", "me");
    CHECK(std::isfinite(message.stamp));
    CHECK(message.stamp > 0);
  }
}

TEST_CASE_FIXTURE(Tidy, "envelope: a message needs a sender") {
  for (const char* text :
       {R"({"content":1})", R"({"from":"","content":1})", R"({"from":"0","content":1})",
        R"({"from":0,"content":1})", R"({"from":null,"content":1})", R"({"from":[],"content":1})"}) {
    CAPTURE(std::string(text));
    CHECK(contains(envelope_refusal(text), "'from'"));
  }
}

TEST_CASE_FIXTURE(Tidy, "envelope: a message needs content that is not null") {
  CHECK(contains(envelope_refusal(R"({"from":"a"})"), "'content'"));
  CHECK(contains(envelope_refusal(R"({"from":"a","content":null})"), "'content'"));
  for (const char* content : {"0", "\"\"", "false", "[]", "{}"}) {
    CAPTURE(std::string(content));
    CHECK(read_envelope(R"({"from":"a","content":)"s + content + "}", "me").content.json() == content);
  }
}

TEST_CASE_FIXTURE(Tidy, "envelope: broadcast is a matter of truth") {
  for (const char* yes : {"1", "true", "\"1\"", "2", "\"yes\""}) {
    CAPTURE(std::string(yes));
    CHECK(read_envelope(R"({"from":"a","content":0,"broadcast":)"s + yes + "}", "me").broadcast);
  }
  for (const char* no : {"0", "false", "\"0\"", "\"\"", "null"}) {
    CAPTURE(std::string(no));
    CHECK_FALSE(read_envelope(R"({"from":"a","content":0,"broadcast":)"s + no + "}", "me").broadcast);
  }
}

TEST_CASE_FIXTURE(Tidy, "envelope: only the outermost keys count, and unknown ones are passed over") {
  const Message message = read_envelope(
      R"({"x":{"from":"evil","content":1,"to":["from"]},"from":"a","content":{"from":"b","to":"c","id":"d"},"y":[{"id":"e"}],"id":"i"})",
      "me");
  CHECK(message.from == "a");
  CHECK(message.id == "i");
  CHECK(message.to == "me");
  CHECK(message.content.json() == R"({"from":"b","to":"c","id":"d"})");
}

TEST_CASE_FIXTURE(Tidy, "envelope: unknown keys become fields") {
  const Message message = wire::read_envelope(
      R"({"trace":"x","from":"a","deep":[1, {"content":2}],"none":null,"content":1,"\u00fc":true})", "b");
  CHECK(message.fields ==
        Fields{{"trace", "x"}, {"deep", Content::json(R"([1, {"content":2}])")}, {"\xc3\xbc", true}});
  CHECK(wire::read_envelope(wire::write_envelope(message), "b").fields == message.fields);
  CHECK_THROWS_AS((void)wire::read_envelope(R"({"from":"a","content":1,"x":1,"x":2})", "b"), ProtocolError);
}

TEST_CASE_FIXTURE(Tidy, "envelope: a field that stands twice is refused") {
  for (const char* text :
       {R"({"from":"a","from":"b","content":1})", R"({"from":"a","content":1,"content":2})",
        R"({"from":"a","content":null,"content":2})", R"({"from":"a","content":2,"content":null})",
        R"({"id":"a","id":"b","from":"a","content":1})", R"({"to":"a","to":"b","from":"a","content":1})",
        R"({"stamp":1,"stamp":2,"from":"a","content":1})"}) {
    CAPTURE(std::string(text));
    CHECK(contains(envelope_refusal(text), "twice"));
  }
}

TEST_CASE_FIXTURE(Tidy, "envelope: a value that is no object is refused") {
  for (const char* text :
       {"", "null", "7", "\"x\"", "[]", R"([{"from":"a","content":1}])", R"({"from":"a","content":1)",
        R"({"from":"a","content":1} x)", "{\"from\":\"a\",\"content\":\"\x01\"}",
        "{\"from\":\"a\",\"content\":\"\xff\"}"}) {
    CAPTURE(std::string(text));
    CHECK(contains(envelope_refusal(text), "a message"));
  }
  CHECK(contains(envelope_refusal(std::string(1'000'000, '[')), "a message is not JSON"));
  CHECK(contains(envelope_refusal(R"({"from":"a","content":)" + std::string(1'000'000, '[')),
                 "nested deeper than 504"));
}

TEST_CASE_FIXTURE(Tidy,
                  "envelope: raw UTF-8 in the content becomes escapes, in names it becomes characters") {
  const Message message = read_envelope("{\"from\":\"\\u00fc€\",\"content\":{\"ü\":\"𝄞\"}}", "me");
  CHECK(message.from == "ü€");
  CHECK(message.content.json() == R"({"\u00fc":"\ud834\udd1e"})");
}

TEST_CASE_FIXTURE(Tidy, "envelope: the content is kept as it was spelt, without the space around it") {
  CHECK(read_envelope("{\"content\" : \t{ \"a\" : 1.50 }\n , \"from\":\"a\"}", "me").content.json() ==
        R"({ "a" : 1.50 })");
  CHECK(read_envelope(R"({"content":-1.5e+10,"from":"a"})", "me").content.json() == "-1.5e+10");
  CHECK(read_envelope(R"({"content":"a\"}b","from":"a"})", "me").content.json() == R"("a\"}b")");
}

TEST_CASE_FIXTURE(Tidy, "envelope: a message comes back as it was") {
  Message message{"01A2050B-EF33-7769-9AB2-B6C36F6D7024",   "a\"ü", "b\\\n", 1795380997.93995, 42, true,
                  Content::json(R"({"x":["\u00fc",1.50]})")};
  const std::string text = write_envelope(message);
  CHECK(is_ascii(text));
  CHECK_NOTHROW(check_json(text, "it"));
  const Message back = read_envelope(text, "me");
  CHECK(back.id == message.id);
  CHECK(back.from == message.from);
  CHECK(back.to == message.to);
  CHECK(std::fabs(back.stamp - message.stamp) < 2e-5);
  CHECK(back.stamp_ord == 42);
  CHECK(back.broadcast);
  CHECK(back.content == message.content);
  message.broadcast = false;
  CHECK_FALSE(contains(write_envelope(message), "broadcast"));
}

TEST_CASE_FIXTURE(Tidy, "envelope: each message is written in one form") {
  CHECK(write_envelope({"ID", "a", "b", 1.5, 3, true, Content(7)}) ==
        R"({"id":"ID","from":"a","to":"b","stamp":1.50000,"stamp_ord":3,"broadcast":1,"content":7})");
}

TEST_CASE_FIXTURE(Tidy,
                  "envelope: content so deep that the message could not be read is refused by its sender") {
  const Content deep = Content::json(repeated("[", kDeepestContent) + repeated("]", kDeepestContent));
  for (const bool asked : {false, true}) {
    CAPTURE(asked);
    std::string text;
    try {
      text = write_envelope({"ID", "a", "b", 1, 0, false, asked ? request_content("ID", deep) : deep});
    } catch (const ProtocolError&) {
      continue;  // the sender gets the error
    }
    CHECK_NOTHROW((void)read_envelope(text, "b"));
  }
}

TEST_CASE_FIXTURE(Tidy, "hello: a greeting names who is calling") {
  CHECK(read_hello(R"({"hello":"service_parent_15745"})").name == "service_parent_15745");
  CHECK(read_hello(R"({"hello":7})").name == "7");
  CHECK(read_hello(R"({"x":[{"hello":"b"}],"hello":"a","ipcm":1})").name == "a");
  CHECK(read_hello(write_hello("a\"ü")).name == "a\"ü");
  CHECK(is_ascii(write_hello("ü")));
}

TEST_CASE_FIXTURE(Tidy, "hello: a greeting without a name is refused") {
  for (const char* text : {"", "{}", R"({"hello":""})", R"({"hello":null})", R"({"hello":["a"]})",
                           R"({"hello":{}})", "[]", R"("hello")", R"({"hello":"a")", "hello"}) {
    CAPTURE(std::string(text));
    CHECK(contains(error_of([&] { (void)read_hello(text); }), "greeting"));
  }
}

TEST_CASE_FIXTURE(Tidy, "hello: a late greeting is an object with that single key") {
  CHECK(is_late_hello(R"({"hello":"a"})"));
  CHECK(is_late_hello(R"( { "hello" : 1 } )"));
  CHECK_FALSE(is_late_hello(R"({"hello":"a","from":"b"})"));
  CHECK_FALSE(is_late_hello(kRequest));
  CHECK_FALSE(is_late_hello("{}"));
  CHECK_FALSE(is_late_hello(R"("hello")"));
  CHECK_FALSE(is_late_hello("hello"));
  CHECK_FALSE(is_late_hello(R"({"x":{"hello":1}})"));
}

TEST_CASE_FIXTURE(Tidy, "envelope: in our own order of members, too, only valid JSON is accepted") {
  const auto of = [](const std::string& stamp, const std::string& ord, const std::string& content) {
    return R"({"id":"i","from":"a","to":"b","stamp":)" + stamp + R"(,"stamp_ord":)" + ord + R"(,"content":)" +
           content + "}";
  };
  const std::string request = R"({"ipcm_request_id":"r","request":1})";
  // The form that this library writes. After another form, the reader parses member by member.
  const std::string own = "1.50000";
  CHECK(read_envelope(of("1.5", "0", "7"), "me").content.json() == "7");
  CHECK(read_envelope(of(own, "0", "7"), "me").content.json() == "7");
  CHECK(read_envelope(of(own, "18446744073709551615", "7"), "me").stamp_ord == 18446744073709551615U);
  CHECK_FALSE(decode_envelope(of("1.5", "0", request), "me").parsed);
  REQUIRE(decode_envelope(of(own, "0", request), "me").parsed);
  CHECK(decode_envelope(of(own, "0", request), "me").parsed->payload.json() == "1");
  for (const std::string& text :
       {of("1.", "0", "7"), of("1.e5", "0", "7"), of("01", "0", "7"), of("01.50000", "0", "7"),
        of("+1", "0", "7"), of(own + ".", "0", "7"), of(own, "00", "7"), of(own, "0.", "7"), of(own, "0", ""),
        of(own, "0", "7}"), of(own, "0", "7,"), of(own, "0", "7,\"content\":8"), of(own, "0", "null"),
        of(own, "0", R"({"ipcm_request_id":"r","request":})"),
        of(own, "0", R"({"ipcm_request_id":"r"{"ipcm_response_id":"r","response":1})"),
        of(own, "0", R"({"ipcm_request_id":"r","request":1})") + "}"}) {
    CAPTURE(text);
    CHECK_THROWS_AS((void)read_envelope(text, "me"), ProtocolError);
    CHECK_THROWS_AS((void)decode_envelope(text, "me"), ProtocolError);
  }
  // A request in another form than this library writes is still a request.
  for (const char* more :
       {R"({"ipcm_request_id":"r","request":1,"terminate":1})",
        R"({"ipcm_request_id":"r","request":1,"request":2})", R"({"ipcm_request_id":"\u0072","request":1})",
        R"({ "ipcm_request_id":"r","request":1})"}) {
    CAPTURE(std::string(more));
    IncomingMessage heard = decode_envelope(of(own, "0", more), "me");
    CHECK_FALSE(heard.parsed);
    CHECK(heard.message.content.json() == more);
    CHECK(classify(heard.message.content).id == "r");
  }
}

TEST_CASE_FIXTURE(Tidy, "envelope: a stamp of ours is read as the C library reads its digits") {
  for (const char* digits : {"1.00000", "0.00001", "1732600000.00001", "1732600000.12345", "9999999999.99999",
                             "4294967296.50000", "12345678901.00000"}) {
    CAPTURE(std::string(digits));
    const std::string text =
        std::string(R"({"id":"i","from":"a","to":"b","stamp":)") + digits + R"(,"stamp_ord":0,"content":7})";
    const Message message = read_envelope(text, "me");
    CHECK(message.stamp == std::strtod(digits, nullptr));
    CHECK(write_envelope(message) == text);
  }
}
