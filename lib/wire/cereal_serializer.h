#pragma once

#include <memory>

#include "wire/serializer.h"

namespace ipcm::wire {

/// Makes the serializer `Cereal`: messages in the format of cereal's portable binary archive, after two bytes
/// of our own.
///
///   0xCE    a magic number: neither JSON nor a zstd frame begins with it
///   1       the version
/// The rest has the format of cereal/archives/portable_binary.hpp; a string is its length in eight bytes, and
/// its bytes:
///   uint8   1: the numbers that follow are little-endian, 0: big-endian
///   uint8   1: a message, 2: a value by itself
///   for a message: string id, from, to; double stamp; uint64 stamp_ord; bool broadcast
///   uint8   the kind of the content
///           1: JSON text, pure ASCII: a string
///           2: bytes: a string with the JSON text around them, then the bytes up to the end
///
/// It writes little-endian numbers and reads both. It does not use cereal's archive, whose loaders allocate
/// the memory that a length from outside announces, before they check that the bytes are there.
/// unit/serializer_test.cc compares the results with those of the archive.
///
/// It refuses content that is not valid JSON as the JSON serializer does (json_check.h), since a Content is
/// always valid. Duplicate keys inside the content are found when it is read as a type.
[[nodiscard]] std::shared_ptr<const Serializer> make_cereal(const BusInfo& info);

}  // namespace ipcm::wire
