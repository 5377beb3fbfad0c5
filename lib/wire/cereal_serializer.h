#pragma once

#include <memory>

#include "wire/serializer.h"

namespace ipcm::wire {

/// `Cereal`: messages as cereal's portable binary archive writes them, behind two bytes of our own.
///
///   0xCE  magic: begins neither JSON nor a zstd frame
///   1     version
///   then, as cereal/archives/portable_binary.hpp has them (a string is its length in eight bytes, and its
///   bytes): uint8   1: the numbers that follow are little-endian, 0: big-endian uint8   1: a message, 2: a
///   value by itself of a message: string id, from, to; double stamp; uint64 stamp_ord; bool broadcast uint8
///   what the content is; 1: JSON text, pure ASCII: a string; 2: bytes: a string, the JSON text around them,
///   and the bytes up to the end
///
/// We write little-endian, and read both. The bytes are put together and taken apart here and not by
/// cereal's archive, whose loaders allocate what a length from outside says before they look whether it is
/// there; unit/serializer_test.cc holds them against the archive.
///
/// Content that is not valid JSON is refused as the JSON serializer refuses it (json_check.h), since Content
/// promises its holders that it is valid; duplicate keys inside it show when it is read as a type.
[[nodiscard]] std::shared_ptr<const Serializer> make_cereal(const BusInfo& info);

}  // namespace ipcm::wire
