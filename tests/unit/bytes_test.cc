// Bytes as content, and the serializers that carry or refuse them.

#include <string>
#include <vector>

#include "ipcm/content.h"
#include "ipcm/error.h"
#include "support/tidy.h"
#include "unit/dice.h"
#include "unit/expect.h"
#include "wire/parsed_content.h"
#include "wire/serializer.h"

using namespace ipcm;
using namespace ipcm::wire;
using namespace std::string_literals;
using ipcm::test::contains;
using ipcm::test::Dice;
using ipcm::test::error_of;
using ipcm::test::Tidy;

namespace {

std::shared_ptr<const Serializer> serializer_named(const std::string& name) {
  return make_serializer({"ConnectionUnix", name, "/r", {}, {}});
}

std::string all_values() {
  std::string all;
  for (int value = 0; value < 256; ++value) all.push_back(static_cast<char>(value));
  return all;
}

Message sample(Content content) {
  return {"01A2050B-EF33-7769-9AB2-B6C36F6D7024", "a", "b", 1795380997.93995, 7, false, std::move(content)};
}

std::string length_of(std::size_t size) {
  std::string text;
  for (int i = 0; i < 8; ++i, size >>= 8) text.push_back(static_cast<char>(size & 0xff));
  return text;
}

/// Returns a message with these bytes instead of its content.
std::string with_content(const std::string& bytes) {
  const std::string whole = serializer_named("Cereal")->write(sample(Content(0)));
  constexpr std::size_t kKindLengthText = 1 + 8 + 1;
  return whole.substr(0, whole.size() - kKindLengthText) + bytes;
}
std::string with_bytes(const std::string& around, const std::string& bytes) {
  return with_content("\2" + length_of(around.size()) + around + bytes);
}

const std::string kRequest = R"({"ipcm_request_id":"X","request":null})";
const std::string kResponse = R"({"ipcm_response_id":"X","response":null})";

}  // namespace

TEST_CASE_FIXTURE(Tidy, "content: bytes are given out as they are, and are no JSON") {
  for (const std::string& bytes : {all_values(), ""s, "null"s, "\"text\""s}) {
    Content content = Content::bytes(bytes);
    CHECK(content.is_bytes());
    CHECK_FALSE(content.is_null());
    CHECK(content.as_bytes() == bytes);
    CHECK(content.around_bytes().empty());
    CHECK(content.size() == bytes.size());
    const std::string wrong_use = error_of<UsageError>([&] { (void)content.json(); });
    CHECK(contains(wrong_use, std::to_string(bytes.size()) + " bytes and no JSON"));
    CHECK(contains(wrong_use, "as_bytes()"));
    CHECK_THROWS_AS((void)Content(content).take_json(), UsageError);
    CHECK_THROWS_AS((void)content.readable(), UsageError);
    CHECK(std::move(content).take_bytes() == bytes);
    CHECK(content.is_null());  // NOLINT(bugprone-use-after-move): null after a move
    CHECK(content == Content());
  }
}

TEST_CASE_FIXTURE(Tidy, "content: bytes equal the same bytes only, and no text") {
  CHECK(Content::bytes("x") == Content::bytes("x"));
  CHECK_FALSE(Content::bytes("x") == Content::bytes("y"));
  CHECK_FALSE(Content::bytes("7") == Content(7));
  CHECK_FALSE(Content::bytes("null") == Content());
  CHECK_FALSE(Content::bytes_within("x", kRequest) == Content::bytes("x"));
  CHECK_FALSE(Content::bytes_within("x", kRequest) == Content::bytes("x" + kRequest));
}

TEST_CASE_FIXTURE(Tidy, "content: bytes are not read as a type, and JSON is not given out as bytes") {
  const Content bytes = Content::bytes("7");
  CHECK(contains(error_of([&] { (void)bytes.as<int>("the answer"); }), "the answer: 1 bytes"));
  CHECK_THROWS_AS((void)bytes.as_strict<std::string>(), ProtocolError);
  CHECK(bytes.as<Content>() == bytes);
  CHECK(contains(error_of<UsageError>([] { (void)Content("x").as_bytes(); }), "JSON text"));
  CHECK_THROWS_AS((void)Content("x").take_bytes(), UsageError);
  CHECK_THROWS_AS((void)Content(std::vector<Content>{bytes}), UsageError);  // a list can't contain bytes
}

TEST_CASE_FIXTURE(Tidy, "content: a moved-from Content stays consistent") {
  Content content = Content::bytes_within("bytes", kRequest);
  const Content other = std::move(content);
  CHECK(other.as_bytes() == "bytes");
  CHECK(other.around_bytes() == kRequest);
  if (content.is_bytes())  // NOLINT(bugprone-use-after-move): tests a moved-from Content
    CHECK(content.as_bytes().size() + content.around_bytes().size() == content.size());
}

TEST_CASE_FIXTURE(
    Tidy, "conversation: bytes in a request or a response are its payload, by themselves they are general") {
  for (const bool request : {true, false}) {
    Content content = request ? request_content("X", Content::bytes(all_values()))
                              : response_content("X", Content::bytes(all_values()));
    CHECK(content.around_bytes() == (request ? kRequest : kResponse));
    for (const ParsedContent& said : {classify(content), parse_in_place(content, true)}) {
      CHECK(said.meaning == (request ? Meaning::request : Meaning::response));
      CHECK(said.id == "X");
      CHECK(said.payload == Content::bytes(all_values()));
    }
    CHECK(content.is_null());
  }
  Content terminate = Content::bytes(R"({"terminate":1})");
  CHECK(classify(terminate).meaning == Meaning::general);
  CHECK(parse_in_place(terminate, true).meaning == Meaning::general);
  CHECK(terminate.as_bytes() == R"({"terminate":1})");
  CHECK(classify(Content::bytes_within("x", "{")).meaning == Meaning::general);
}

TEST_CASE_FIXTURE(Tidy, "Cereal: bytes are kind 2, the JSON text around them, and the rest") {
  const auto serializer = serializer_named("Cereal");
  CHECK(serializer->carries_bytes());
  for (const std::string& bytes : {all_values(), ""s, std::string(1 << 20, '\xFF')}) {
    const Message general = sample(Content::bytes(bytes));
    CHECK(serializer->write(general) == with_bytes("", bytes));
    CHECK(serializer->read(serializer->write(general), "me").content == general.content);
    CHECK(serializer->decode(serializer->write(general), "me").message.content == general.content);

    const Message request = sample(request_content("X", Content::bytes(bytes)));
    const std::string written = serializer->write(request);
    CHECK(written == with_bytes(kRequest, bytes));
    CHECK(serializer->read(written, "me").content == request.content);
    IncomingMessage heard = serializer->decode(written, "me");
    REQUIRE(heard.parsed);
    CHECK(heard.parsed->meaning == Meaning::request);
    CHECK(heard.parsed->id == "X");
    CHECK(heard.parsed->payload == Content::bytes(bytes));
    CHECK(heard.size() == bytes.size() + 4);  // plus the "null" in their place
    CHECK(std::move(heard).whole().content == request.content);
    std::string batch = "before";
    serializer->append(batch, request, ContentSlices::of(request.content));
    CHECK(batch == "before" + written);
  }
  // The order of the keys and additional keys do not matter.
  const auto heard = serializer->decode(
      with_bytes(R"({ "response":null,"more":[1], "ipcm_response_id":"X"})", "bytes"), "me");
  REQUIRE(heard.parsed);
  CHECK(heard.parsed->meaning == Meaning::response);
  CHECK(heard.parsed->payload == Content::bytes("bytes"));
}

TEST_CASE_FIXTURE(Tidy, "Cereal: bytes are not copied where they are written") {
  const auto serializer = serializer_named("Cereal");
  const Content payload = Content::bytes(std::string(100000, 'x'));
  std::string begin = request_begin("X");
  EncodedMessage written = serializer->write_slices(sample({}), wrap_payload(begin, payload));
  CHECK(written.body.data() == payload.as_bytes().data());
  CHECK(written.body.size() == 100000);
  CHECK(written.tail.empty());
  CHECK(written.take() == with_bytes(kRequest, std::string(100000, 'x')));
}

TEST_CASE_FIXTURE(Tidy,
                  "Cereal: bytes that come in pieces are the same wherever the pieces end behind the kind") {
  const auto serializer = serializer_named("Cereal");
  for (const std::string& around : {""s, kRequest}) {
    const std::string whole = with_bytes(around, all_values());
    const auto expected = serializer->read(whole, "me").content;
    const std::size_t behind_kind = whole.size() - all_values().size() - around.size() - 8;
    for (std::size_t head = behind_kind; head <= whole.size(); ++head) {
      for (const std::size_t tail : {std::size_t{0}, std::size_t{1}, whole.size() - head}) {
        if (head + tail > whole.size()) continue;
        CAPTURE(head);
        CAPTURE(tail);
        IncomingMessage heard = serializer->decode_slices(
            whole.substr(0, head), Body(whole.substr(head, whole.size() - head - tail)),
            whole.substr(whole.size() - tail), "me");
        CHECK(std::move(heard).whole().content == expected);
      }
    }
  }
  CHECK_THROWS_AS((void)serializer->decode_slices(with_bytes("{}", ""), Body("body"), "", "me"),
                  ProtocolError);
}

TEST_CASE_FIXTURE(Tidy,
                  "Cereal: bytes around which stands anything but a request or a response are refused") {
  const auto serializer = serializer_named("Cereal");
  for (const std::string& around :
       {"null"s, "{}"s, " "s, "x"s, "{"s, R"({"terminate":1})"s, kRequest + "x", kRequest + kRequest,
        R"({"ipcm_request_id":"X","request":0})"s, R"({"ipcm_request_id":"X","request":"null"})"s,
        R"({"ipcm_request_id":"X"})"s, R"({"ipcm_request_id":"","request":null})"s,
        R"({"ipcm_request_id":"X","response":null})"s, R"({"ipcm_request_id":"X","request":null,})"s,
        "{\"ipcm_request_id\":\"\xC3\xBC\",\"request\":null}"s,
        "{\"ipcm_request_id\":\"X\",\"request\":null\0}"s,
        R"({"ipcm_response_id":"X","response":null,"ipcm_error":"e"})"s}) {
    CAPTURE(around);
    for (const bool listening : {true, false})
      CHECK(contains(error_of([&] {
                       if (listening)
                         (void)serializer->decode(with_bytes(around, "bytes"), "me");
                       else
                         (void)serializer->read(with_bytes(around, "bytes"), "me");
                     }),
                     "the JSON text around its bytes"));
    CHECK(serializer->is_spoken(with_bytes(around, "bytes")));  // so only this message is lost
  }
}

TEST_CASE_FIXTURE(
    Tidy, "Cereal: a length around bytes that is damaged is refused, and so is a message cut before them") {
  const auto serializer = serializer_named("Cereal");
  const auto refusal = [&](const std::string& bytes) {
    return error_of([&] { (void)serializer->read(bytes, "me"); });
  };
  const std::string whole = with_bytes(kRequest, "bytes");
  const std::size_t begin = whole.size() - 5 - kRequest.size() - 8;
  for (std::size_t size = 0; size < whole.size() - 5; ++size)
    CHECK_THROWS_AS((void)serializer->read(whole.substr(0, size), "me"), ProtocolError);
  for (const std::string& length :
       {std::string(8, '\xFF'), "\0\0\0\0\0\0\0\x80"s, length_of(kRequest.size() + 6)}) {
    std::string wrong = whole;
    wrong.replace(begin, 8, length);
    CHECK(contains(refusal(wrong), "ends too early"));
    CHECK_THROWS_AS((void)serializer->decode_slices(wrong, Body(""), "", "me"), ProtocolError);
  }
  for (const std::size_t size : {kRequest.size() - 1, kRequest.size() + 1, std::size_t{1}}) {
    std::string wrong = whole;
    wrong.replace(begin, 8, length_of(size));
    CHECK(contains(refusal(wrong), "the JSON text around its bytes"));
  }
  // A damaged message is refused, or the result is a valid message.
  Dice dice;
  int read = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string wrong = whole;
    for (std::size_t n = 1 + dice.below(3); n > 0; --n)
      wrong[dice.below(wrong.size())] = static_cast<char>(dice.below(256));
    try {
      const Content got = serializer->read(wrong, "me").content;
      if (got.is_bytes() && !got.around_bytes().empty()) CHECK(classify(got).meaning != Meaning::general);
      ++read;
    } catch (const ProtocolError&) {
    }
  }
  CHECK(read > 0);
}

TEST_CASE_FIXTURE(Tidy, "Cereal: content by itself is JSON or bytes, a value is JSON only") {
  const auto serializer = serializer_named("Cereal");
  for (const Content& content : {Content::bytes(all_values()), Content::bytes(""), Content("text"),
                                 request_content("X", Content::bytes("bytes"))})
    CHECK(serializer->read_content(serializer->write_content(content)) == content);
  const std::string bytes = serializer->write_content(Content::bytes("bytes"));
  CHECK(contains(error_of([&] { (void)serializer->read_value(bytes); }), "a JSON value is expected"));
  CHECK_THROWS_AS((void)serializer->read_content(bytes.substr(0, 8)), ProtocolError);
  CHECK_THROWS_AS((void)serializer->read_content(serializer->write(sample("x"))), ProtocolError);
}

TEST_CASE_FIXTURE(Tidy,
                  "serializers: one that writes text refuses bytes where they are written, with advice") {
  int refused = 0;
  for (const std::string& name : known_serializers()) {
    const auto serializer = serializer_named(name);
    if (serializer->carries_bytes()) continue;
    CAPTURE(name);
    ++refused;
    const Message general = sample(Content::bytes("bytes"));
    std::string batch;
    for (const std::string& error :
         {error_of<UsageError>([&] { (void)serializer->write(general); }),
          error_of<UsageError>([&] { (void)serializer->write_content(general.content); }),
          error_of<UsageError>(
              [&] { serializer->append(batch, general, ContentSlices::of(general.content)); })}) {
      CHECK(contains(error, "the serializer Cereal"));
      CHECK(contains(error, "base64"));
    }
    CHECK(batch.empty());
  }
  CHECK(refused >= 1);
}
