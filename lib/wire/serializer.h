#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ipcm/bus_info.h"
#include "ipcm/message.h"
#include "wire/body.h"
#include "wire/conversation.h"
#include "wire/pieces.h"

namespace ipcm::wire {

/// How messages become bytes: the second part of a bus's info string. Immutable, and shared by all who are on
/// one bus in a process.
class Serializer {
 public:
  virtual ~Serializer() = default;
  [[nodiscard]] virtual const char* name() const = 0;
  /// A whole message. read() makes up what may be missing (wire/envelope.h), and throws ProtocolError for
  /// what is no message.
  [[nodiscard]] std::string write(const Message& message) const;
  /// The same of a message whose content stands beside it; its own is not looked at.
  [[nodiscard]] virtual Written write_in_pieces(const Message& message,
                                                const ContentPieces& content) const = 0;
  /// The same, behind what `into` has already: for who puts several messages together.
  virtual void append(std::string& into, const Message& message, const ContentPieces& content) const {
    const Written written = write_in_pieces(message, content);
    into.append(written.head).append(written.body).append(written.tail);
  }
  [[nodiscard]] virtual Message read(std::string_view bytes, std::string_view receiver) const = 0;
  /// The same, for who wants to know what it says: that may be told at once.
  [[nodiscard]] virtual Heard hear(std::string_view bytes, std::string_view receiver) const {
    return {read(bytes, receiver)};
  }
  /// The same of one that came in three pieces, as write_in_pieces() has made them; the body is large.
  [[nodiscard]] virtual Heard hear_in_pieces(std::string_view head, Body body, std::string_view tail,
                                             std::string_view receiver) const;
  /// Whether bytes that read() refused come from somebody who speaks this serializer all the same, and made
  /// a mistake: then only that message is lost, not the connection it came on.
  [[nodiscard]] virtual bool is_spoken(std::string_view bytes) const = 0;
  /// One value by itself, for media that keep the other parts of a message apart, and for greetings. The JSON
  /// text given and returned is pure ASCII. read_value() throws ProtocolError.
  [[nodiscard]] virtual std::string write_value(std::string_view json) const = 0;
  [[nodiscard]] virtual std::string read_value(std::string_view bytes) const = 0;

  /// Whether content may be bytes. Where not, who writes them gets a UsageError (refuse_bytes()).
  [[nodiscard]] virtual bool carries_bytes() const { return false; }
  /// The content of a message by itself; it is never null. read_content() throws ProtocolError.
  [[nodiscard]] virtual std::string write_content(const Content& content) const;
  [[nodiscard]] virtual Content read_content(std::string_view bytes) const;
};

/// The serializer that an info string names, with its options. Throws BusError that lists the known ones, or
/// says which option is wrong.
[[nodiscard]] std::shared_ptr<const Serializer> make_serializer(const BusInfo& info);
/// Their names.
[[nodiscard]] std::vector<std::string> known_serializers();

}  // namespace ipcm::wire
