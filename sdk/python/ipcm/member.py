"""A member of a bus, without an opinion about how its caller waits: the common core of the asyncio and the synchronous face.

It keeps the open requests and their deadlines, the messages that nobody has fetched yet, and the changes of peers.
"""

from __future__ import annotations

import collections
import os
import weakref
from typing import Any, Callable, Deque, Dict, Iterable, List, Optional, Set, Tuple

from .channel import Asked, Call, Channel, Receiver, finished
from .errors import BusError, PeerGone, RemoteError, Timeout, UsageError
from .info import BusInfo
from .loop import BlockingLoop
from .messages import Message, new_id
from .native import ConnectionUnix

_MOST_MESSAGES = 10_000
_LONGEST = 1e9  # seconds

_members: "weakref.WeakSet[Member]" = weakref.WeakSet()


def _close_in_child() -> None:
    for member in list(_members):
        member.close_in_child()


os.register_at_fork(after_in_child=_close_in_child)


def make_channel(info: BusInfo, name: Optional[str], note: str = "", serves: bool = False, returns: bool = False) -> Channel:
    """Returns the channel for a bus, not yet open. Without a name the member is not listed on a ConnectionUnix bus. With `returns` it
    takes the place of a member of its name that was suspended or has died."""
    if returns and name is None:
        raise UsageError("reconnect needs the name that the messages are kept for")
    if info.is_native:
        return ConnectionUnix(info, name or f"python-{os.getpid()}-{new_id()[-12:]}", name is not None, note, serves)
    from .bridge import Bridge  # with subprocess, which a native member does not need
    return Bridge(info, name, serves, returns)


class Event:
    """A change of the peers: `kind` is "join" or "leave", `peer` the name."""

    __slots__ = ("kind", "peer")

    def __init__(self, kind: str, peer: str) -> None:
        self.kind, self.peer = kind, peer

    def __repr__(self) -> str:
        return f"<ipcm.Event {self.kind} {self.peer!r}>"


class Inbox:
    """Values that wait for their reader, and one reader that waits for a value. `close(error)` ends both."""

    def __init__(self) -> None:
        self.values: Deque[Any] = collections.deque()
        self.wake: Optional[Callable[[], None]] = None
        self.error: Optional[Exception] = None

    def put(self, value: Any) -> None:
        self.values.append(value)
        if self.wake is not None:
            self.wake()

    def close(self, error: Exception) -> None:
        self.error = self.error or error
        if self.wake is not None:
            self.wake()

    def is_ready(self) -> bool:
        return bool(self.values) or self.error is not None

    def take(self) -> Any:
        if self.values:
            return self.values.popleft()
        assert self.error is not None
        raise self.error


class Member(Receiver):
    """See above. Belongs to the thread of its loop. After a fork it is closed in the child, and the parent's stays open."""

    def __init__(self, channel: Channel, loop: Any) -> None:
        self.channel, self.loop = channel, loop
        self.messages, self.events = Inbox(), Inbox()
        self.on_asked: Optional[Callable[[Asked], None]] = None
        self.on_inspected: Optional[Callable[[Asked], None]] = None
        self.on_message: Optional[Callable[[Message], None]] = None
        self.on_event: Optional[Callable[[Event], None]] = None
        self.on_end: Optional[Callable[[str], None]] = None  # told to end, "" or the reason why the bus is gone
        self.on_complaint: Optional[Callable[[str], None]] = None
        self.is_closed = False
        self._calls: Dict[str, Call] = {}
        self._known: Optional[Set[str]] = None  # the peers, while they are watched
        self._waiting: List[Tuple[str, Call]] = []  # for a peer to join
        self._looking = self._look_again = False
        _members.add(self)

    @property
    def name(self) -> str:
        return self.channel.name

    def attach(self) -> None:
        self.channel.attach(self.loop, self)

    def close(self) -> None:
        """Leaves the bus. Open calls fail. Never raises; may be called again."""
        if self.is_closed:
            return
        self.is_closed = True
        error = BusError("the connection to the bus was closed by the own program")
        self.channel.close()
        for call in list(self._calls.values()) + [call for _, call in self._waiting]:
            call.finish(error=error)
        self._calls.clear()
        self._waiting.clear()
        self.messages.close(error)
        self.events.close(error)

    def close_in_child(self) -> None:
        self.is_closed = True
        self.channel.close_in_child()
        if isinstance(self.loop, BlockingLoop):
            self.loop.close()

    def _expect_open(self) -> None:
        if self.is_closed:
            raise BusError("the connection to the bus is closed; a forked child needs one of its own")

    # ---- calls

    def call(self, peer: str, content: Any, timeout: Optional[float], when_done: Optional[Callable[[Call], None]] = None) -> Call:
        """Sends a request. The call ends with the answer, RemoteError, PeerGone or Timeout."""
        self._expect_open()
        call = Call(new_id(), peer)
        call.when_done = when_done
        self._calls[call.id] = call
        try:
            self.channel.ask(call, content)
        except BaseException:
            self._calls.pop(call.id, None)
            raise
        if timeout is not None and not call.done:
            call.timer = self.loop.call_later(max(timeout, 0), self._timed_out, call, timeout)
        return call

    def forget(self, call: Call) -> None:
        """The caller does not wait any more."""
        if self._calls.pop(call.id, None) is not None:
            self.channel.forget(call)
        if call.timer is not None:
            call.timer.cancel()

    def _timed_out(self, call: Call, timeout: float) -> None:
        self.forget(call)
        call.finish(error=Timeout(f"'{call.peer}' did not answer within {timeout:g} s; its answer will be ignored"))

    def room_for(self, peer: str) -> Optional[Call]:
        self._expect_open()
        return self.channel.room_for(peer)

    def send(self, peer: str, content: Any) -> Call:
        self._expect_open()
        return self.channel.send(peer, content)

    def broadcast(self, content: Any) -> Call:
        self._expect_open()
        return self.channel.broadcast(content)

    def peers(self) -> Call:
        self._expect_open()
        return self.channel.peers()

    def suspend(self, expires: Optional[float]) -> Call:
        """Leaves the bus for a while, if it keeps messages."""
        self._expect_open()
        if expires is not None and not 0 < expires < _LONGEST:
            raise UsageError(f"expires wants a number of seconds above 0 and below {_LONGEST:g}, found {expires!r}")
        return self.channel.suspend(expires)

    def reconnect(self) -> Call:
        """Joins again after suspend(). The peers that have joined or left meanwhile become events, if they are watched."""
        self._expect_open()
        call = self.channel.reconnect()
        joined = Call()

        def done(call: Call) -> None:
            if call.error is None and self._known is not None:
                self._look_at_peers()
            joined.finish(call.value, call.error)
        if call.done:
            done(call)
        else:
            call.when_done = done
        return joined

    def wait_for(self, peer: str, timeout: Optional[float]) -> Call:
        """The call ends when a peer of that name is on the bus."""
        self._expect_open()
        call = Call("", peer)
        self._waiting.append((peer, call))
        self.watch()
        if self._known is not None and peer in self._known:
            self._waiting.pop()
            return finished()
        if timeout is not None:
            call.timer = self.loop.call_later(max(timeout, 0), self._not_joined, peer, call, timeout)
        return call

    def _not_joined(self, peer: str, call: Call, timeout: float) -> None:
        self._waiting = [one for one in self._waiting if one[1] is not call]
        call.finish(error=Timeout(f"'{peer}' did not join the bus within {timeout:g} s"))

    def watch(self) -> None:
        """From now on, changes of the peers become events."""
        if self._known is None and not self._looking:
            self.channel.watch_peers()
            self._look_at_peers()

    def _look_at_peers(self) -> None:
        if self._looking:
            self._look_again = True
            return
        self._looking = True
        call = self.channel.peers()
        if call.done:
            self._compare(call)
        else:
            call.when_done = self._compare

    def _compare(self, call: Call) -> None:
        self._looking = False
        if call.error is not None:
            if not self.is_closed:
                self.complain(f"peers can't be listed: {call.error}")
            return
        now, before = set(call.value), self._known
        self._known = now
        for peer, waiting in list(self._waiting):
            if peer in now:
                self._waiting.remove((peer, waiting))
                waiting.finish()
        if before is not None:
            for kind, names in (("leave", before - now), ("join", now - before)):
                for name in sorted(names):
                    self._tell(Event(kind, name))
        if self._look_again:
            self._look_again = False
            self._look_at_peers()

    def _tell(self, event: Event) -> None:
        if self.on_event is not None:
            self.on_event(event)
        elif len(self.events.values) < _MOST_MESSAGES:
            self.events.put(event)

    # ---- the channel reports

    def answered(self, id: str, value: Any, error: Optional[str], peer: str) -> None:
        call = self._calls.pop(id, None)
        if call is None:
            return  # given up before, or never made here
        self.channel.forget(call)
        if error is None:
            call.finish(value)
        else:
            call.finish(error=RemoteError(call.peer, error))

    def failed(self, calls: Iterable[Call], error: Callable[[], Exception]) -> None:
        for call in list(calls):
            if self._calls.pop(call.id, None) is not None:
                call.finish(error=error())

    def inspected(self, request: Asked) -> None:
        if self.on_inspected is not None:
            self.on_inspected(request)

    def asked(self, request: Asked) -> None:
        if self.on_asked is not None:
            self.on_asked(request)
            return
        try:
            self.channel.refuse(request, f"'{self.name}' does not answer requests")
        except (PeerGone, BusError, UsageError):
            pass  # the requester has left

    def received(self, message: Message) -> None:
        if self.on_message is not None:
            self.on_message(message)
            return
        self.messages.put(message)
        if len(self.messages.values) == _MOST_MESSAGES:
            self.channel.hold(True)

    def fetched(self) -> None:
        """A message was taken from the inbox."""
        if len(self.messages.values) == _MOST_MESSAGES // 2:
            self.channel.hold(False)

    def told_to_end(self) -> None:
        if self.on_end is not None:
            self.on_end("")
        else:
            self._end("it was told to leave the bus")

    def peers_changed(self) -> None:
        self._look_at_peers()

    def ended(self, why: str) -> None:
        if self.on_end is not None:
            self.on_end(why)
        else:
            self._end(why)

    def _end(self, why: str) -> None:
        self.messages.close(BusError(f"'{self.name}' is no longer on the bus: {why}"))
        self.close()

    def complain(self, sentence: str) -> None:
        if self.on_complaint is not None:
            self.on_complaint(sentence)
