#include "ipcm/content.h"
#include "ipcm/error.h"
#include "support/tidy.h"

using namespace ipcm;
using ipcm::test::Tidy;

TEST_CASE_FIXTURE(Tidy, "content: JSON text keeps its spelling and becomes pure ASCII") {
  CHECK(Content::json(" {\"a\": 1.50, \"ü\":\"€𝄞\"} ").json() == R"({"a": 1.50, "\u00fc":"\u20ac\ud834\udd1e"})");
}
