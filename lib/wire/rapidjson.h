#pragma once

// RapidJSON's parser comes with cereal: beside it on Debian, inside it where cereal is the wrap. Only
// json_*.cc see it.

#if __has_include(<rapidjson/reader.h>)
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#else
#include <cereal/external/rapidjson/error/en.h>
#include <cereal/external/rapidjson/memorystream.h>
#include <cereal/external/rapidjson/reader.h>
#endif
