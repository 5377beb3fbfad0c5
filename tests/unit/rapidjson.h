#pragma once

// RapidJSON's parser, with which the tests compare the scanner. It comes with cereal: as its own package on
// Debian, inside cereal if that is the wrap.

#if __has_include(<rapidjson/reader.h>)
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#else
#include <cereal/external/rapidjson/memorystream.h>
#include <cereal/external/rapidjson/reader.h>
#endif
