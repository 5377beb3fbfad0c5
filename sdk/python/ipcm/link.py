"""One connection to a peer: a stream socket that carries frames in both directions, without blocking."""

from __future__ import annotations

import collections
import os
import socket
import struct
from typing import Any, Deque, Dict, List, Optional, Tuple

from .channel import Call
from .frames import FrameReader

_SO_PEERPIDFD = 77  # Linux 6.5
_PIECE = 65536


def credentials(stream: socket.socket) -> Tuple[int, int]:
    """Returns the process and the user on the other end. Process 0: in another pid namespace."""
    pid, user, _ = struct.unpack("3i", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, user


def process_of(stream: socket.socket) -> int:
    """Returns a pidfd of the process on the other end; -1: none. It is readable when the process has ended."""
    try:
        return stream.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        pass
    try:
        pid = credentials(stream)[0]
        return os.pidfd_open(pid) if pid > 0 else -1
    except OSError:
        return -1


class Link:
    """A connection. Its owner registers the descriptor with a loop, and calls receive() and flush().

    `peer` is None until the other end has greeted. `calls` are the open requests that were sent here, by id.
    """

    HIGH = 1024 * 1024
    """From this many queued bytes on, senders wait."""
    MOST = 128 * 1024 * 1024
    """The limit of queued bytes; a peer that reads so little is cut off, or refused further messages."""

    __slots__ = ("stream", "fd", "peer", "opened_by_us", "calls", "reader", "queue", "queued", "waiters", "process",
                 "timer", "reads", "is_open", "process_watched")

    def __init__(self, stream: socket.socket, peer: Optional[str]) -> None:
        self.stream, self.fd, self.peer = stream, stream.fileno(), peer
        self.opened_by_us = peer is not None
        self.calls: Dict[str, Call] = {}
        self.reader = FrameReader()
        self.queue: Deque[Any] = collections.deque()
        self.queued = 0
        self.waiters: List[Call] = []
        self.process = -1
        self.process_watched = False
        self.timer: Any = None
        self.reads = False
        self.is_open = True

    def put(self, data: bytes) -> bool:
        """Sends as much as the socket takes, and queues the rest. Returns whether something is queued. Raises OSError."""
        if not self.queue:
            try:
                sent = self.stream.send(data)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return False
            data = memoryview(data)[sent:]  # type: ignore[assignment]
        self.queue.append(data)
        self.queued += len(data)
        return True

    def flush(self) -> bool:
        """Sends from the queue. Returns whether it is empty. Raises OSError."""
        queue = self.queue
        while queue:
            data = queue[0]
            try:
                sent = self.stream.send(data)
            except BlockingIOError:
                break
            self.queued -= sent
            if sent == len(data):
                queue.popleft()
            else:
                queue[0] = memoryview(data)[sent:]
        if self.waiters and self.queued <= self.HIGH:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                waiter.finish()
        return not queue

    def receive(self) -> Optional[List[Any]]:
        """Reads once. Returns the payloads that are complete now; None: the other end has closed. Raises OSError,
        ProtocolError."""
        target = self.reader.target()
        try:
            if target is not None:
                count = self.stream.recv_into(target)
                if count == 0:
                    return None
                payload = self.reader.filled(count)
                return [] if payload is None else [payload]
            data = self.stream.recv(_PIECE)
        except BlockingIOError:
            return []
        return self.reader.feed(data) if data else None

    def close(self) -> None:
        self.is_open = False
        self.stream.close()
        if self.process >= 0:
            os.close(self.process)
            self.process = -1
