#include "ipcm/bus.h"

#include <string>

#include "ipcm/error.h"
#include "ipcm/ipcm.h"
#include "support/tidy.h"
#include "transport/database/dsn.h"
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

TEST_CASE_FIXTURE(Tidy, "bus info: an error about a URL never repeats its password") {
  const std::string word = "pa55word", url = "postgresql://me:" + word + "@host/db";
  for (const std::string& text :
       {url, "[\"PostgreSQL\",\"JSON\",\"" + url + "\"", "[\"PostgreSQL\",\"" + url + "\"]"}) {
    const std::string error = error_of([&] { (void)BusInfo::parse(text); });
    CHECK(error != "(nothing was thrown)");
    CHECK_FALSE(contains(error, word));
  }
  for (const char* protocol : {"ConnectionUnix", "JSONFile", "MessageFiles", "SQLite", "PostgreSQL"}) {
    CHECK_FALSE(contains(error_of<BusError>([&] {
                           (void)ipcm_connect("a", BusInfo{protocol, "JSON", url});
                         }),
                         word));
    SpawnOptions options;
    options.protocols = {protocol};
    options.route = url;
    CHECK_FALSE(contains(error_of<Error>([&] { (void)ipcm_spawn(options); }), word));
  }
  const database::RouteForm form{{"pg"}, {{"dbname", "dbname"}, {"host", "host"}}, "dbname"};
  for (const std::string& route :
       {url, url + "?sslmode=off", "dbi:Pg:" + url, "dbi:" + url, "dbi:Pg:dbname=" + url, "dbname=" + url,
        "dbname='password=" + word + "'", "me:" + word + "@host", "dbi:Pg:dbname=x;" + word,
        "dbi:Pg:me/" + word + "@=x"}) {
    CAPTURE(route);
    const std::string error = error_of<BusError>([&] { (void)database::read_route(route, form); });
    CHECK(error != "(nothing was thrown)");
    CHECK_FALSE(contains(error, word));
  }
  CHECK(contains(error_of<BusError>([&] { (void)database::read_route("dbnam=x", form); }), "'dbnam'"));
}
