#include "os/stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "ipcm/error.h"
#include "os/directory.h"
#include "os/log_reader.h"
#include "os/pipe.h"
#include "os/rolling_log.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using namespace ipcm::os;
using namespace ipcm::test;

TEST_CASE_FIXTURE(Tidy, "stream: a redirect to a number that no descriptor has is refused") {
  for (const std::string where :
       {"&-1", "&99999999999", "&2147483648", "&7x", "&", "&orig", "& 1", "&1000000", "&0x1"}) {
    CHECK_THROWS_AS((void)open_stream(where, StreamUse::read), SystemError);
    CHECK_THROWS_AS((void)open_stream(where, StreamUse::append), SystemError);
  }
}

TEST_CASE_FIXTURE(Tidy, "G8: opening a redirect to a FIFO does not block") {
  const std::string path = directory() + "/fifo";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  try {
    (void)open_stream(path, StreamUse::append);
    FAIL("a FIFO that nobody reads was opened to write to");
  } catch (const SystemError& error) {
    CHECK(error.code() == ENXIO);
    CHECK(std::string(error.what()).find("nobody reads it") != std::string::npos);
  }
  {
    const UniqueFd in = open_stream(path, StreamUse::read);
    CHECK((::fcntl(in.get(), F_GETFL) & O_NONBLOCK) == 0);  // stdin of a service blocks
    const UniqueFd out = open_stream(path, StreamUse::append);
    write_all(out.get(), "words", "fifo");
    std::string text;
    CHECK(read_some(in.get(), text, 5, "fifo") == ReadResult::some);
    CHECK(text == "words");
  }
  ::unlink(path.c_str());
}

TEST_CASE_FIXTURE(Tidy, "G8: writing to a pipe whose reader is slow does not block, and loses nothing") {
  Pipe pipe = make_pipe();
  StreamWriter writer(duplicate(pipe.write_end.get()));
  const std::string text(1024UL * 1024, 'x');
  std::size_t put = writer.put(text);
  CHECK(put > 0);
  CHECK(put < text.size());
  CHECK((::fcntl(pipe.write_end.get(), F_GETFL) & O_NONBLOCK) == 0);  // other processes write to it too
  std::string seen;
  while (seen.size() < text.size()) {
    REQUIRE(read_some(pipe.read_end.get(), seen, 16384, "pipe") == ReadResult::some);
    put += writer.put(std::string_view(text).substr(put));
  }
  CHECK(seen == text);
  CHECK_FALSE(writer.lost());
  pipe.read_end.reset();
  CHECK(writer.put("more") == 4);  // SIGPIPE did not end the test
  CHECK(writer.lost());
}

TEST_CASE_FIXTURE(Tidy, "log: it is private, has two files, and is bounded") {
  const std::string path = directory() + "/log";
  {
    const RollingLog log(RollingLog::open(path));
    CHECK((look_at(path).mode & 0777) == 0600);
    LogReader reader(path);
    std::string seen = reader.read_all();
    const std::string line(1000, 'x');
    for (int i = 0; i < 5000; ++i) {
      log.append(std::to_string(i) + line + "\n");
      if (i % 100 == 0) seen += reader.read_new();
      REQUIRE(look_at(path).size <= RollingLog::kLargest);
    }
    seen += reader.read_new();
    CHECK(look_at(path + ".1").size <= RollingLog::kLargest);
    CHECK((look_at(path + ".1").mode & 0777) == 0600);
    std::string all;
    for (int i = 0; i < 5000; ++i) all += std::to_string(i) + line + "\n";
    CHECK(seen == all);  // a following reader misses nothing
    const std::string kept = LogReader(path).read_all();
    CHECK(kept.size() > RollingLog::kLargest);
    CHECK(all.ends_with(kept));
  }
  ::unlink(path.c_str());
  ::unlink((path + ".1").c_str());
}

TEST_CASE_FIXTURE(Tidy, "log: a writer that can't look before each write is bounded afterwards") {
  const std::string path = directory() + "/log";
  const RollingLog log(RollingLog::open(path));
  write_all(log.fd(), std::string(3 * RollingLog::kLargest, 'a') + "end", "log");
  log.roll_beyond(RollingLog::kFull);
  CHECK(look_at(path).size == 0);
  CHECK(look_at(path + ".1").size == RollingLog::kLargest);
  CHECK(LogReader(path).read_all().ends_with("aend"));
  write_all(log.fd(), "next", "log");
  CHECK(LogReader(path).read_all().ends_with("aendnext"));
  ::unlink((path + ".1").c_str());
  ::unlink(path.c_str());
  write_all(log.fd(), std::string(RollingLog::kLargest, 'a'), "log");
  log.roll_beyond(RollingLog::kFull);  // the log was removed: no file is made
  CHECK(names_in(directory()).empty());
  CHECK(facts_of(log.fd()).size == 0);
}

TEST_CASE_FIXTURE(Tidy, "log: another kind of file at its path is refused") {
  const std::string path = directory() + "/log", other = directory() + "/other";
  write_file(other, "precious");
  REQUIRE(::symlink(other.c_str(), path.c_str()) == 0);
  CHECK_THROWS_AS((void)RollingLog::open(path), SystemError);
  ::unlink(path.c_str());
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  CHECK_THROWS_AS((void)RollingLog::open(path), SystemError);
  ::unlink(path.c_str());
  const RollingLog log(RollingLog::open(path));
  REQUIRE(::symlink(other.c_str(), (path + ".1").c_str()) == 0);
  write_all(log.fd(), std::string(RollingLog::kLargest, 'a'), "log");
  log.roll_beyond(RollingLog::kFull);
  CHECK(read_file(other) == "precious");
  for (const std::string& gone : {path, path + ".1", other}) ::unlink(gone.c_str());
}
