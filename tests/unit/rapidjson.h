#pragma once

// RapidJSON's parser comes with cereal: beside it on Debian, inside it where cereal is the wrap. What
// our scanner is held against.

#if __has_include(<rapidjson/reader.h>)
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#else
#include <cereal/external/rapidjson/memorystream.h>
#include <cereal/external/rapidjson/reader.h>
#endif
