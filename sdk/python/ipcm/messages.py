"""Messages: their JSON text, identifiers and stamps (docs/bus.md, "Messages"). Pure values, no descriptor."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any, Optional

from .errors import ProtocolError, UsageError

DEEPEST = 500
"""The largest depth of nesting in a message that peers accept."""

_LONE_SURROGATE = re.compile(
    r"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})")


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _depth(text: str) -> int:
    """Returns the depth of the arrays and objects in a valid JSON text."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    deepest = level = 0
    for character in bare:
        if character in "[{":
            level += 1
            deepest = max(deepest, level)
        elif character in "]}":
            level -= 1
    return deepest


def json_text(value: Any) -> str:
    """Returns the value as JSON in pure ASCII. Raises UsageError for a value that other peers can't read."""
    try:
        text = _encoder.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the content can't be sent as JSON: {error}") from None
    if "\x7f" in text:
        text = text.replace("\x7f", "\\u007f")
    # A level is left for each of the two objects around the value.
    if text.count("[") + text.count("{") > DEEPEST - 2 and _depth(text) > DEEPEST - 2:
        raise UsageError(f"the content can't be sent: it has more than {DEEPEST - 2} levels")
    if "\\ud" in text and _LONE_SURROGATE.search(text):
        raise UsageError("the content can't be sent: it has half of a surrogate pair, which is no Unicode text")
    return text


def json_value(payload: Any) -> Any:
    """Returns the value of a JSON text (bytes). Raises ProtocolError."""
    try:
        return _decoder.decode(str(payload, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"it is no JSON: {error}") from None


def new_id() -> str:
    """Returns an upper-case UUID of version 7: they sort by time."""
    random = int.from_bytes(os.urandom(10), "big")
    whole = (int(time.time() * 1000) & 0xFFFFFFFFFFFF) << 80 | 7 << 76 | (random >> 68) << 64 | 2 << 62 | (
        random & 0x3FFFFFFFFFFFFFFF)
    digits = f"{whole:032X}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_true(value: Any) -> bool:
    """Returns whether a value is true in Perl's sense."""
    return value not in (None, False, 0, "", "0")


class Stamps:
    """The stamps of one sender, which rise: readers may sort by them."""

    __slots__ = ("_last", "_order")

    def __init__(self) -> None:
        self._last, self._order = "0", 0

    def next(self) -> str:
        """Returns the two keys of the next message as JSON text."""
        stamp = f"{time.time():.5f}"
        if len(stamp) < len(self._last) or (len(stamp) == len(self._last) and stamp <= self._last):
            stamp = self._last
            self._order += 1
        else:
            self._last, self._order = stamp, 0
        return f'"stamp":{stamp},"stamp_ord":{self._order}'


class Message:
    """A message that was received.

    `sender` is the name of the peer that sent it, `to` its receiver, `content` any JSON value, `broadcast` whether it
    went to all peers, `id` its identifier, `stamp` the time at which it was sent (Unix seconds).
    """

    __slots__ = ("id", "sender", "to", "content", "broadcast", "stamp")

    def __init__(self, id: str, sender: str, to: str, content: Any, broadcast: bool, stamp: float) -> None:
        self.id, self.sender, self.to, self.content = id, sender, to, content
        self.broadcast, self.stamp = broadcast, stamp

    def __repr__(self) -> str:
        return f"<ipcm.Message from {self.sender!r}: {self.content!r}>"


def _name(value: Any) -> Optional[str]:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value in ("", "0", 0):
        return None
    return value if isinstance(value, str) else str(value)


def read_message(whole: Any, own_name: str) -> Message:
    """Returns the message of a JSON value. Raises ProtocolError if it is incomplete."""
    if not isinstance(whole, dict):
        raise ProtocolError("it is no JSON object")
    sender = _name(whole.get("from"))
    if sender is None:
        raise ProtocolError("it has no sender (key 'from')")
    content = whole.get("content")
    if content is None:
        raise ProtocolError("it has no content")
    try:
        stamp = float(whole.get("stamp") or time.time())
    except (TypeError, ValueError, OverflowError):
        raise ProtocolError("its stamp is no number") from None
    return Message(_name(whole.get("id")) or new_id(), sender, _name(whole.get("to")) or own_name, content,
                   is_true(whole.get("broadcast")), stamp)
