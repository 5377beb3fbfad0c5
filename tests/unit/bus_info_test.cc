#include "ipcm/bus.h"

#include <string>

#include "ipcm/error.h"
#include "support/tidy.h"
#include "unit/expect.h"

using namespace ipcm;
using ipcm::test::contains;
using ipcm::test::error_of;
using ipcm::test::Tidy;

TEST_CASE_FIXTURE(Tidy, "bus info: the text form comes back as it was") {
  const BusInfo info{"ConnectionUnix", "JSON", "/run/a \"ü\\/b"};
  CHECK(BusInfo::parse(info.text()) == info);
  CHECK(BusInfo{"ConnectionUnix", "JSON", "/r"}.text() == R"(["ConnectionUnix","JSON","/r"])");
}

TEST_CASE_FIXTURE(Tidy, "bus info: the reference's long names are shortened") {
  const BusInfo expected{"ConnectionUnix", "JSON", "/run/x/PerlIPCManager-15745-wnLdKi"};
  for (
      const char* text :
      {R"(["IPC::Manager::Client::ConnectionUnix","IPC::Manager::Serializer::JSON","/run/x/PerlIPCManager-15745-wnLdKi"])",
       R"(["ConnectionUnix","JSON","\/run\/x\/PerlIPCManager-15745-wnLdKi"])",
       R"( ["+IPC::Manager::Client::ConnectionUnix" , "+IPC::Manager::Serializer::JSON","/run/x/PerlIPCManager-15745-wnLdKi"] )",
       R"(["ConnectionUnix",["IPC::Manager::Serializer::JSON"],"/run/x/PerlIPCManager-15745-wnLdKi"])",
       R"(["ConnectionUnix",["JSON"],"/run/x/PerlIPCManager-15745-wnLdKi"])"}) {
    CAPTURE(std::string(text));
    CHECK(BusInfo::parse(text) == expected);
  }
  CHECK(BusInfo::parse(R"(["+My::Class","+My::Other","r"])") == BusInfo{"My::Class", "My::Other", "r"});
}

TEST_CASE_FIXTURE(Tidy, "bus info: anything else is refused, with the form that is wanted") {
  for (const char* text :
       {"null", "7", "\"x\"", "{}", R"({"0":"a","1":"b","2":"c"})", "[]", R"(["a","b"])",
        R"(["a","b","c","d"])", R"([1,"b","c"])", R"(["a","b",null])", R"(["a",["b",1],"c"])",
        R"(["a",[],"c"])", R"(["a",[1],"c"])", R"(["a",[["b"]],"c"])", R"([["a"],"b","c"])",
        R"(["a","b",["c"]])", R"(["a",{"b":1},"c"])"}) {
    CAPTURE(std::string(text));
    CHECK(contains(error_of([&] { (void)BusInfo::parse(text); }), "array of three strings"));
  }
  for (const char* text : {"", "[", R"(["a","b","c"] x)", "/run/x"}) {
    CAPTURE(std::string(text));
    CHECK(contains(error_of([&] { (void)BusInfo::parse(text); }), "is not JSON"));
  }
}
