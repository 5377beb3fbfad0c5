#include "transport/connection_unix/memory_frame.h"

#include "ipcm/error.h"
#include "support/tidy.h"
#include "wire/utf8.h"

using namespace ipcm;
using namespace ipcm::transport;
using namespace ipcm::wire;
using namespace std::string_literals;
using ipcm::test::Tidy;
using Kind = MemoryFrame::Kind;

TEST_CASE_FIXTURE(Tidy, "memory frame: its bytes are those of the format, and are read again") {
  CHECK(write_memory_frame({.kind = Kind::understood}) == "\0ipcm\2"s);
  CHECK(write_memory_frame({.kind = Kind::file, .size = 0x04000000}) == "\0ipcm\3\0\0\0\0\4\0\0\0"s);
  CHECK(write_memory_frame({.kind = Kind::mapped}) == "\0ipcm\4"s);
  const std::string message =
      write_memory_frame({.kind = Kind::message, .offset = 0x1000, .size = 0x2345, .head = "head"});
  CHECK(message == "\0ipcm\5\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x23\x45\0\0\0\4head"s);
  const std::string whole = message + "tail";
  const auto frame = read_memory_frame(whole);
  REQUIRE(frame);
  CHECK(frame->kind == Kind::message);
  CHECK(frame->offset == 0x1000);
  CHECK(frame->size == 0x2345);
  CHECK(frame->head == "head");
  CHECK(frame->tail == "tail");
  CHECK(read_memory_frame("\0ipcm\3\0\0\0\0\4\0\0\0"s)->size == 0x04000000);
}

TEST_CASE_FIXTURE(Tidy, "memory frame: messages are none, and damaged ones are refused") {
  for (const std::string& text : {""s, "{}"s, "\xCE\1"s, "\0"s, "\0ipc"s, "ipcm"s})
    CHECK_FALSE(read_memory_frame(text));
  const std::string whole = write_memory_frame({.kind = Kind::message, .head = "head"});
  for (std::size_t size = 5; size < whole.size(); ++size)
    CHECK_THROWS_AS((void)read_memory_frame(whole.substr(0, size)), ProtocolError);
  for (const std::string& text : {"\0ipcm\0"s, "\0ipcm\1"s, "\0ipcm\6"s, "\0ipcm\xff"s, "\0ipcm\2x"s,
                                  "\0ipcm\4x"s, "\0ipcm\3\0\0\0\0\0\0\0"s, "\0ipcm\3\0\0\0\0\0\0\0\0\0"s})
    CHECK_THROWS_AS((void)read_memory_frame(text), ProtocolError);
}

TEST_CASE_FIXTURE(Tidy, "plain text: the first byte that is not plain is found wherever it is") {
  for (const std::size_t size : {1023UL, 1024UL, 1025UL, 1152UL, 1500UL, 4096UL}) {
    std::string text(size, 'x');
    CHECK(skip_plain(text.data(), text.data() + size) == text.data() + size);
    for (std::size_t at = 0; at < size; at += at < 300 || at + 300 > size ? 1 : 37)
      for (const char odd : {'"', '\\', '\0', '\x1f', '\x80', '\xff', '\n'}) {
        text[at] = odd;
        const char* const found = skip_plain(text.data(), text.data() + size);
        REQUIRE(found == text.data() + at);
        text[at] = 'x';
      }
    for (const char plain : {' ', '!', '#', '[', ']', '\x7f', '0', '{'}) {
      text[size / 2] = plain;
      REQUIRE(skip_plain(text.data(), text.data() + size) == text.data() + size);
    }
  }
}
