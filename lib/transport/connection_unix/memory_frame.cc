#include "transport/connection_unix/memory_frame.h"

#include "ipcm/error.h"

namespace ipcm::transport {
namespace {

template <class Number>
void append(std::string& into, Number number) {
  for (std::size_t left = sizeof number; left-- > 0;)
    into.push_back(static_cast<char>(number >> (left * 8) & 0xffU));
}

/// Reads a number, and removes it from the front.
template <class Number>
Number take(std::string_view& from) {
  if (from.size() < sizeof(Number)) throw ProtocolError("a frame about shared memory ends too early");
  Number number = 0;
  for (std::size_t i = 0; i < sizeof number; ++i)
    number = static_cast<Number>(number << 8U | static_cast<std::uint8_t>(from[i]));
  from.remove_prefix(sizeof number);
  return number;
}

}  // namespace

std::string write_memory_frame(const MemoryFrame& frame) {
  std::string bytes;
  bytes.reserve(kMemoryFrameFixed + frame.head.size());
  bytes.append(kMemoryMark).push_back(static_cast<char>(frame.kind));
  switch (frame.kind) {
    case MemoryFrame::Kind::understood:
    case MemoryFrame::Kind::mapped:
      break;
    case MemoryFrame::Kind::file:
      append(bytes, frame.size);
      break;
    case MemoryFrame::Kind::message:
      append(bytes, frame.offset);
      append(bytes, frame.size);
      append(bytes, static_cast<std::uint32_t>(frame.head.size()));
      bytes.append(frame.head);
      break;
  }
  return bytes;
}

std::optional<MemoryFrame> read_memory_frame(std::string_view payload) {
  if (!payload.starts_with(kMemoryMark)) return std::nullopt;
  payload.remove_prefix(kMemoryMark.size());
  MemoryFrame frame{.kind = static_cast<MemoryFrame::Kind>(take<std::uint8_t>(payload))};
  switch (frame.kind) {
    case MemoryFrame::Kind::understood:
    case MemoryFrame::Kind::mapped:
      break;
    case MemoryFrame::Kind::file:
      frame.size = take<std::uint64_t>(payload);
      break;
    case MemoryFrame::Kind::message: {
      frame.offset = take<std::uint64_t>(payload);
      frame.size = take<std::uint64_t>(payload);
      const auto head = take<std::uint32_t>(payload);
      if (head > payload.size()) throw ProtocolError("a frame about shared memory ends too early");
      frame.head = payload.substr(0, head);
      frame.tail = payload.substr(head);
      return frame;
    }
    default:
      throw ProtocolError("a frame about shared memory of kind " +
                          std::to_string(static_cast<unsigned>(frame.kind)));
  }
  if (!payload.empty()) throw ProtocolError("a frame about shared memory is longer than it should be");
  return frame;
}

}  // namespace ipcm::transport
