"""The synchronous face, for scripts without asyncio: connect_sync() and SyncBus. It runs the same member on a BlockingLoop."""

from __future__ import annotations

import os
import time
from typing import Any, Iterator, List, Optional

from .channel import Call
from .errors import BusError, Timeout
from .info import Info, bus_info
from .loop import BlockingLoop
from .member import Event, Inbox, Member, make_channel
from .messages import Message


class SyncBus:
    """A connection to a bus, made by connect_sync(). Its methods are those of Bus, and block.

        with connect_sync() as bus:
            print(bus.request("up", "hi", timeout=5))

    It works only inside its methods: between them, messages wait in the kernel, and senders may have to wait. Threads: one
    at a time; give each thread a connection of its own. Forks: as with Bus. Times are seconds; None means no limit.
    """

    def __init__(self, member: Member, loop: BlockingLoop) -> None:
        self._member, self._loop, self._pid = member, loop, os.getpid()

    @property
    def name(self) -> str:
        """The own name on the bus."""
        return self._member.name

    def request(self, peer: str, content: Any, *, timeout: Optional[float] = None) -> Any:
        """See Bus.request()."""
        member = self._member
        room = member.room_for(peer)
        if room is not None:
            self._wait(room)
        call = member.call(peer, content, timeout)
        try:
            self._loop.run_until(lambda: call.done)
        except BaseException:  # such as KeyboardInterrupt
            member.forget(call)
            raise
        return call.result()

    def requests(self, peer: str, contents: Any, *, timeout: Optional[float] = None, jobs: int = 64) -> Iterator[Any]:
        """Sends many requests, at most `jobs` at a time, and yields their answers in the order of the contents. An answer
        that is an error is raised in its place."""
        open_calls: List[Call] = []
        for content in contents:
            if len(open_calls) >= jobs:
                yield self._wait(open_calls.pop(0))
            room = self._member.room_for(peer)
            if room is not None:
                self._wait(room)
            open_calls.append(self._member.call(peer, content, timeout))
        for call in open_calls:
            yield self._wait(call)

    def send(self, peer: str, content: Any) -> None:
        """See Bus.send()."""
        self._wait(self._member.send(peer, content))

    def broadcast(self, content: Any) -> List[str]:
        """See Bus.broadcast()."""
        return self._wait(self._member.broadcast(content))

    def peers(self) -> List[str]:
        """Returns the names of the other peers, sorted."""
        return self._wait(self._member.peers())

    def suspend(self, *, expires: Optional[float] = None) -> None:
        """See Bus.suspend()."""
        self._wait(self._member.suspend(expires))

    def reconnect(self) -> None:
        """See Bus.reconnect()."""
        self._wait(self._member.reconnect())

    def wait_for(self, peer: str, *, timeout: Optional[float] = None) -> None:
        """See Bus.wait_for()."""
        self._wait(self._member.wait_for(peer, timeout))

    def receive(self, *, timeout: Optional[float] = None) -> Message:
        """See Bus.receive()."""
        message = self._next(self._member.messages, timeout)
        self._member.fetched()
        return message

    def messages(self) -> Iterator[Message]:
        """Yields general messages until the connection ends."""
        while True:
            try:
                yield self.receive()
            except BusError:
                return

    def watch(self) -> None:
        """From now on, changes of the peers are kept for events()."""
        self._member.watch()

    def events(self, *, timeout: Optional[float] = None) -> Iterator[Event]:
        """Yields an Event for each peer that joins or leaves after the first call of next(), until the connection ends.
        With a timeout, raises Timeout if that time passes without one."""
        self._member.watch()
        while True:
            try:
                yield self._next(self._member.events, timeout)
            except BusError:
                return

    def close(self) -> None:
        """Sends what is queued, and leaves the bus. May be called again."""
        if self._pid != os.getpid():
            return  # closed in the child already
        for call in [] if self._member.is_closed else self._member.channel.drain():
            self._wait(call)
        if not self._member.is_closed:
            self._member.close()
        self._loop.close()

    def __enter__(self) -> "SyncBus":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _wait(self, call: Call) -> Any:
        if not call.done:
            self._loop.run_until(lambda: call.done)
        return call.result()

    def _next(self, inbox: Inbox, timeout: Optional[float]) -> Any:
        until = None if timeout is None else time.monotonic() + timeout
        if not self._loop.run_until(inbox.is_ready, until):
            raise Timeout(f"nothing came within {timeout:g} s")
        return inbox.take()


def connect_sync(info: Optional[Info] = None, *, name: Optional[str] = None, reconnect: bool = False) -> SyncBus:
    """Connects to a bus without asyncio: `with connect_sync() as bus`. The arguments and errors are those of connect()."""
    channel = make_channel(bus_info(info), name, returns=reconnect)
    channel.open()
    loop = BlockingLoop()
    member = Member(channel, loop)
    member.attach()
    return SyncBus(member, loop)
