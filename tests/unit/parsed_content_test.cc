#include "wire/parsed_content.h"

#include <string>

#include "support/tidy.h"
#include "unit/expect.h"
#include "wire/json_text.h"

using namespace ipcm;
using namespace ipcm::wire;
using namespace std::string_literals;
using ipcm::test::Tidy;

namespace {

ParsedContent of(const std::string& json) { return classify(Content::trusted_json(json)); }

}  // namespace

TEST_CASE_FIXTURE(Tidy, "conversation: a request is an id and anything") {
  const auto said = of(R"({"request":{"a":[1]},"ipcm_request_id":"X","more":1})");
  CHECK(said.meaning == Meaning::request);
  CHECK(said.id == "X");
  CHECK(said.payload.json() == R"({"a":[1]})");
  CHECK(of(R"({"ipcm_request_id":"X"})").payload.is_null());
  CHECK(of(R"({"ipcm_request_id":7,"request":null})").id == "7");
}

TEST_CASE_FIXTURE(Tidy, "conversation: a request for facts is a request with a mark, and stays one") {
  const std::string text = inspection_begin("X") + "null" + std::string(kWrapperEnd);
  CHECK(text == R"({"ipcm_request_id":"X","ipcm_inspect":1,"request":null})");
  std::optional<ParsedContent> fast;
  CHECK_FALSE(parse_own_content(text, fast));  // the fast way would lose the mark
  const auto said = of(text);
  CHECK(said.meaning == Meaning::request);
  CHECK(said.id == "X");
  CHECK(said.inspects);
  CHECK(said.payload.is_null());
  IncomingMessage incoming{Message(), of(text), 0};
  CHECK(std::move(incoming).whole().content.json() == text);
  CHECK_FALSE(of(R"({"ipcm_request_id":"X","ipcm_inspect":0,"request":null})").inspects);
  CHECK_FALSE(of(R"({"ipcm_request_id":"X","request":{"ipcm_inspect":1}})").inspects);
  CHECK(of(R"({"ipcm_inspect":1})").meaning == Meaning::general);
}

TEST_CASE_FIXTURE(Tidy, "conversation: a response is an id and anything, and an error if it failed") {
  const auto good = of(R"({"response":"r","ipcm_response_id":"X"})");
  CHECK(good.meaning == Meaning::response);
  CHECK(good.id == "X");
  CHECK(good.payload.json() == R"("r")");
  CHECK(good.error.empty());
  const auto bad = of(R"({"ipcm_response_id":"X","response":null,"ipcm_error":"boom \u00fc\n"})");
  CHECK(bad.error == "boom ü\n");
  CHECK(of(R"({"ipcm_response_id":"X","ipcm_error":42})").error == "42");
  CHECK(of(R"({"ipcm_response_id":"X","ipcm_error":null})").error.empty());
  CHECK(of(R"({"ipcm_response_id":"X","ipcm_error":""})").error.empty());
}

TEST_CASE_FIXTURE(Tidy, "conversation: a request id goes before a response id, and both before terminate") {
  const auto both =
      of(R"({"ipcm_response_id":"R","response":1,"ipcm_request_id":"Q","request":2,"ipcm_error":"e"})");
  CHECK(both.meaning == Meaning::request);
  CHECK(both.id == "Q");
  CHECK(both.payload.json() == "2");
  CHECK(both.error.empty());
  CHECK(of(R"({"terminate":1,"ipcm_request_id":"Q"})").meaning == Meaning::request);
  CHECK(of(R"({"terminate":1,"ipcm_response_id":"Q"})").meaning == Meaning::response);
}

TEST_CASE_FIXTURE(Tidy, "conversation: keys count by Perl's truth") {
  for (const char* yes :
       {"1", "true", "\"1\"", "\"0.0\"", "\"00\"", "\" \"", "-1", "0.5", "[]", "{}", "\"false\""}) {
    CAPTURE(std::string(yes));
    CHECK(of(R"({"terminate":)"s + yes + "}").meaning == Meaning::terminate);
    CHECK(of(R"({"ipcm_request_id":)"s + yes + "}").meaning == Meaning::request);
  }
  for (const char* no : {"0", "0.0", "false", "null", "\"\"", "\"0\""}) {
    CAPTURE(std::string(no));
    CHECK(of(R"({"terminate":)"s + no + "}").meaning == Meaning::general);
    CHECK(of(R"({"ipcm_request_id":)"s + no + "}").meaning == Meaning::general);
    CHECK(of(R"({"ipcm_response_id":"R","ipcm_request_id":)"s + no + "}").meaning == Meaning::response);
  }
}

TEST_CASE_FIXTURE(Tidy, "conversation: zero is false however it is spelt") {
  for (const char* no : {"-0", "0.00", "0e0", "-0.0", "0E+5"}) {
    CAPTURE(std::string(no));
    CHECK(of(R"({"terminate":)"s + no + "}").meaning == Meaning::general);
  }
}

TEST_CASE_FIXTURE(Tidy, "conversation: anything else is a general message") {
  for (const char* text : {"null", "7", "\"terminate\"", "[]", R"([{"terminate":1}])", "{}",
                           R"({"request":1})", R"({"response":1})", R"({"x":{"terminate":1}})",
                           R"({"Terminate":1})", "", "{", "{\"terminate\":1", "{]", R"({"terminate":1}x)"}) {
    CAPTURE(std::string(text));
    const auto said = of(text);
    CHECK(said.meaning == Meaning::general);
    CHECK(said.id.empty());
  }
  CHECK(of(std::string(1'000'000, '{')).meaning == Meaning::general);
  CHECK(of(ipcm::test::repeated("{\"a\":", 100'000)).meaning == Meaning::general);
}

TEST_CASE_FIXTURE(Tidy, "content: requests, responses and errors are classified") {
  const auto asked = classify(request_content("I\"D", Content::json("[1]")));
  CHECK(asked.meaning == Meaning::request);
  CHECK(asked.id == "I\"D");
  CHECK(asked.payload.json() == "[1]");
  const auto answered = classify(response_content("X", Content()));
  CHECK(answered.meaning == Meaning::response);
  CHECK(answered.payload.is_null());
  CHECK(answered.error.empty());
  const auto failed = classify(error_content("X", "bad \xff byte"));
  CHECK(failed.meaning == Meaning::response);
  CHECK(failed.error == "bad \xef\xbf\xbd byte");
  CHECK(classify(terminate_content()).meaning == Meaning::terminate);
  CHECK(terminate_content().json() == R"({"terminate":1})");
  CHECK(error_content("X", "e").json() == R"({"ipcm_response_id":"X","response":null,"ipcm_error":"e"})");
  CHECK_NOTHROW(check_json(error_content("X", "\xff\n").json(), "it"));
}

TEST_CASE_FIXTURE(Tidy, "content: parsing a request or a response in place leaves only its payload") {
  for (const char* text : {R"({"ipcm_response_id":"X","response":[1,"two"]})",
                           R"({"response" : [1,"two"] ,"ipcm_response_id":"X", "a":{}})"}) {
    CAPTURE(std::string(text));
    Content content = Content::trusted_json(text);
    const auto said = parse_in_place(content, false);
    CHECK(said.meaning == Meaning::response);
    CHECK(said.payload.json() == R"([1,"two"])");
    CHECK(content.is_null());
  }
  for (const bool requests : {false, true}) {
    const Content request = request_content("X", Content("hi"));
    Content content = request;
    const auto said = parse_in_place(content, requests);
    CHECK(said.meaning == Meaning::request);
    CHECK(said.id == "X");
    CHECK(said.payload == (requests ? Content("hi") : Content()));
    CHECK(content == (requests ? Content() : request));
    for (const char* text : {R"({"a":1})", R"({"terminate":1})", "7"}) {
      Content general = Content::trusted_json(text);
      CHECK(parse_in_place(general, requests).payload.is_null());
      CHECK(general.json() == text);
    }
  }
  Content bare = Content::trusted_json(R"({"ipcm_response_id":"X","ipcm_error":"e"})");
  CHECK(parse_in_place(bare, false).payload.is_null());
}

TEST_CASE_FIXTURE(Tidy, "conversation: an error without words is an error all the same") {
  // A reader takes ipcm_error "" for success.
  CHECK_FALSE(classify(error_content("X", "")).error.empty());
  CHECK_FALSE(classify(error_content("X", "0")).error.empty());
}
