"""Frames of ConnectionUnix: a length of four bytes, most significant first, then the payload. Pure bytes, no descriptor."""

from __future__ import annotations

from typing import List, Optional

from .errors import ProtocolError

LARGEST = 64 * 1024 * 1024
"""The largest payload, in bytes."""

_READ_IN_PLACE = 64 * 1024


def frame(payload: bytes) -> bytes:
    """Returns the payload with its length in front."""
    return len(payload).to_bytes(4, "big") + payload


class FrameReader:
    """Cuts a stream of bytes into payloads.

    feed() takes bytes that were read. While target() is not None, a large payload is incomplete: the caller may read
    straight into it and report the count to filled(), which saves two copies.
    """

    __slots__ = ("_rest", "_large", "_have")

    def __init__(self) -> None:
        self._rest = b""
        self._large: Optional[bytearray] = None
        self._have = 0

    def held(self) -> int:
        """Returns the number of bytes of unfinished payloads."""
        return self._have if self._large is not None else len(self._rest)

    def target(self) -> Optional[memoryview]:
        return None if self._large is None else memoryview(self._large)[self._have:]

    def filled(self, count: int) -> Optional[bytearray]:
        """Returns the payload if it is complete now."""
        assert self._large is not None
        self._have += count
        if self._have < len(self._large):
            return None
        done, self._large, self._have = self._large, None, 0
        return done

    def feed(self, data: bytes) -> List[bytes]:
        """Returns the payloads that are complete now. Raises ProtocolError for a length above LARGEST."""
        if self._rest:
            data = self._rest + data
        payloads, at, end = [], 0, len(data)
        while end - at >= 4:
            size = int.from_bytes(data[at:at + 4], "big")
            if size > LARGEST:
                raise ProtocolError(f"announced a message of {size} bytes, beyond the limit of {LARGEST}")
            if end - at - 4 < size:
                if size > _READ_IN_PLACE:
                    self._large = bytearray(size)  # the kernel gives the memory when it is written
                    self._have = end - at - 4
                    self._large[:self._have] = data[at + 4:]
                    at = end
                break
            payloads.append(data[at + 4:at + 4 + size])
            at += 4 + size
        self._rest = data[at:]
        return payloads
