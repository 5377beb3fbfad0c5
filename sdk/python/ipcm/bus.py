"""The asyncio face: connect() and Bus."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Generator, List, Optional

from .channel import Call
from .errors import BusError, Timeout
from .info import Info, bus_info
from .member import Event, Inbox, Member, make_channel
from .messages import Message


def _set(future: "asyncio.Future[Any]", call: Call) -> None:
    if future.done():
        return
    if call.error is None:
        future.set_result(call.value)
    else:
        future.set_exception(call.error)


class Bus:
    """A connection to a bus, made by connect().

        async with connect() as bus:
            print(await bus.request("up", "hi", timeout=5))

    Threads: it belongs to the event loop that was running when it was made. Forks: the child's copy is closed, the
    parent's stays usable; a child that needs the bus connects itself. Times are seconds; None means no limit. Any number
    of tasks may call its methods at once, except that messages() and events() have one reader each.
    """

    def __init__(self, member: Member) -> None:
        self._member = member

    @property
    def name(self) -> str:
        """The own name on the bus. A connection without a name of its own has a random one, and is not listed."""
        return self._member.name

    async def request(self, peer: str, content: Any, *, timeout: Optional[float] = None) -> Any:
        """Asks a peer, and returns its answer, a JSON value.

        Raises RemoteError if the peer answers with an error, PeerGone if there is no such peer or it ends or leaves
        before it answers, Timeout, UsageError if the content is no JSON or too large (64 MiB), BusError. A cancelled
        request is forgotten; its receiver may still execute it.
        """
        member = self._member
        room = member.room_for(peer)
        if room is not None:
            await self._wait(room)
        future = member.loop.create_future()
        call = member.call(peer, content, timeout, lambda call: _set(future, call))
        try:
            return await future
        except asyncio.CancelledError:
            member.forget(call)
            raise

    async def send(self, peer: str, content: Any) -> None:
        """Sends a general message, which gets no answer. Returns when the system has taken most of it. Raises as request()."""
        await self._wait(self._member.send(peer, content))

    async def broadcast(self, content: Any) -> List[str]:
        """Sends a general message to all other peers. Returns their names."""
        return await self._wait(self._member.broadcast(content))

    async def peers(self) -> List[str]:
        """Returns the names of the other peers, sorted."""
        return await self._wait(self._member.peers())

    async def suspend(self, *, expires: Optional[float] = None) -> None:
        """Leaves a durable bus (MessageFiles, JSONFile, SQLite, a database), which keeps messages for this name: for reconnect(), or for
        connect(name=…, reconnect=True) in any process. After `expires` seconds, if given, they are lost. Raises BusError on a bus
        that keeps none; until reconnect(), other calls raise UsageError."""
        await self._wait(self._member.suspend(expires))

    async def reconnect(self) -> None:
        """Joins again after suspend(), and gets the messages that the bus has kept. Raises UsageError if it is on the bus."""
        await self._wait(self._member.reconnect())

    async def wait_for(self, peer: str, *, timeout: Optional[float] = None) -> None:
        """Waits until a peer of that name is on the bus. Raises Timeout."""
        await self._wait(self._member.wait_for(peer, timeout))

    async def receive(self, *, timeout: Optional[float] = None) -> Message:
        """Waits for the next general message. Raises Timeout, and BusError when the connection has ended."""
        message = await self._next(self._member.messages, timeout)
        self._member.fetched()
        return message

    async def messages(self) -> AsyncIterator[Message]:
        """Yields general messages until the connection ends."""
        while True:
            try:
                yield await self.receive()
            except BusError:
                return

    async def watch(self) -> None:
        """From now on, changes of the peers are kept for events()."""
        self._member.watch()

    async def events(self) -> AsyncIterator[Event]:
        """Yields an Event for each peer that joins or leaves after watch(), or after the first step, until the connection ends."""
        self._member.watch()
        while True:
            try:
                yield await self._next(self._member.events, None)
            except BusError:
                return

    async def flush(self) -> None:
        """Waits until the system has taken everything that was sent."""
        for call in [] if self._member.is_closed else self._member.channel.drain():
            await self._wait(call)

    async def close(self) -> None:
        """Sends what is queued, and leaves the bus. May be called again."""
        await self.flush()
        self._member.close()

    async def __aenter__(self) -> "Bus":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def _wait(self, call: Call) -> Any:
        if not call.done:
            future = self._member.loop.create_future()
            call.when_done = lambda call: _set(future, call)
            return await future
        return call.result()

    async def _next(self, inbox: Inbox, timeout: Optional[float]) -> Any:
        if not inbox.is_ready():
            if inbox.wake is not None:
                raise BusError("another task waits for this already")
            future = self._member.loop.create_future()
            inbox.wake = lambda: future.done() or future.set_result(None)
            try:
                await asyncio.wait_for(future, timeout)
            except asyncio.TimeoutError:
                raise Timeout(f"nothing came within {timeout:g} s") from None
            finally:
                inbox.wake = None
        return inbox.take()


class _Connecting:
    """What connect() returns: await it, or use it with `async with`."""

    def __init__(self, info: Optional[Info], name: Optional[str], reconnect: bool) -> None:
        self._info, self._name, self._reconnect = info, name, reconnect
        self._bus: Optional[Bus] = None

    async def _connect(self) -> Bus:
        info = bus_info(self._info)
        loop = asyncio.get_running_loop()
        channel = make_channel(info, self._name, returns=self._reconnect)
        if info.is_native:
            channel.open()
        else:
            await loop.run_in_executor(None, channel.open)
        member = Member(channel, loop)
        member.attach()
        return Bus(member)

    def __await__(self) -> Generator[Any, None, Bus]:
        return self._connect().__await__()

    async def __aenter__(self) -> Bus:
        self._bus = await self._connect()
        return self._bus

    async def __aexit__(self, *_: Any) -> None:
        if self._bus is not None:
            await self._bus.close()


def connect(info: Optional[Info] = None, *, name: Optional[str] = None, reconnect: bool = False) -> _Connecting:
    """Connects to a bus: `async with connect() as bus`, or `bus = await connect()`.

    `info` is an info string (or its three parts); without it $IPCM_INFO is used. With a `name` the connection is a peer that
    others see and can write to; without one it only asks, and leaves no trace. With `reconnect` it takes the place of a peer of
    its name that was suspended or whose process has died, and gets the messages that a durable bus has kept. Raises NameTaken, BusError, UsageError.
    """
    return _Connecting(info, name, reconnect)
