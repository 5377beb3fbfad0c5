#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/bus_info.h"
#include "ipcm/message.h"
#include "wire/body.h"
#include "wire/content_slices.h"
#include "wire/parsed_content.h"

namespace ipcm::wire {

/// Turns messages into bytes and back: the second part of the info string of a bus. Immutable; all members of
/// one bus in a process share it.
class Serializer {
 public:
  virtual ~Serializer() = default;
  [[nodiscard]] virtual const char* name() const = 0;
  /// Encode and decode a whole message. read() adds missing fields (wire/envelope.h), and throws
  /// ProtocolError for bytes that are no message.
  [[nodiscard]] std::string write(const Message& message) const;
  /// Encodes a message whose content stands beside it; `message.content` is ignored.
  [[nodiscard]] virtual EncodedMessage write_slices(const Message& message,
                                                    const ContentSlices& content) const = 0;
  /// Appends an encoded message to `into`, for a caller that sends several messages at once.
  virtual void append(std::string& into, const Message& message, const ContentSlices& content) const {
    const EncodedMessage encoded = write_slices(message, content);
    into.append(encoded.head).append(encoded.body).append(encoded.tail);
  }
  [[nodiscard]] virtual Message read(std::string_view bytes, std::string_view receiver) const = 0;
  /// As read(), but may also parse the content, where that costs nothing.
  [[nodiscard]] virtual IncomingMessage decode(std::string_view bytes, std::string_view receiver) const {
    return {read(bytes, receiver)};
  }
  /// Decodes a message that came in the three slices that write_slices() has made; the body is large.
  [[nodiscard]] virtual IncomingMessage decode_slices(std::string_view head, Body body, std::string_view tail,
                                                      std::string_view receiver) const;
  /// Returns whether bytes that read() refused come from a peer that uses this serializer and made a mistake:
  /// then only that message is lost, not its connection.
  [[nodiscard]] virtual bool is_spoken(std::string_view bytes) const = 0;
  /// Encode and decode one value, for protocols that store the other parts of a message apart, and for
  /// greetings. The JSON text is pure ASCII. read_value() throws ProtocolError.
  [[nodiscard]] virtual std::string write_value(std::string_view json) const = 0;
  [[nodiscard]] virtual std::string read_value(std::string_view bytes) const = 0;

  /// Returns whether content may be bytes. If not, writing bytes throws UsageError (refuse_bytes()).
  [[nodiscard]] virtual bool carries_bytes() const { return false; }
  /// Returns whether messages may have fields of their senders (Message::fields).
  [[nodiscard]] virtual bool carries_fields() const { return true; }
  /// Encode and decode the content of a message, which is never null. read_content() throws ProtocolError.
  [[nodiscard]] virtual std::string write_content(const Content& content) const;
  [[nodiscard]] virtual Content read_content(std::string_view bytes) const;
};

/// Returns the serializer that an info string names, with its options. Throws BusError that lists the known
/// serializers, or names the wrong option.
[[nodiscard]] std::shared_ptr<const Serializer> make_serializer(const BusInfo& info);
/// Returns the names of all serializers.
[[nodiscard]] std::vector<std::string> known_serializers();

}  // namespace ipcm::wire
