"""The boundary between a member and the medium: what a channel does, and what it reports.

There are two channels: native.py speaks ConnectionUnix itself, bridge.py lets a process of `ipcm bridge` speak any
protocol. Both are driven by the callbacks of a loop. After open() they do not block, except while a connection waits for
room in the queue of its peer (5 s at most). A loop is an asyncio loop, or the
BlockingLoop of the synchronous face: anything with add_reader, remove_reader, add_writer, remove_writer, call_later.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Optional

from .messages import Message


class Call:
    """The result of an operation that may end later. finish() counts once."""

    __slots__ = ("id", "peer", "done", "value", "error", "when_done", "timer", "link")

    def __init__(self, id: str = "", peer: str = "") -> None:
        self.id, self.peer = id, peer
        self.done = False
        self.value: Any = None
        self.error: Optional[BaseException] = None
        self.when_done: Optional[Callable[["Call"], None]] = None
        self.timer: Any = None
        self.link: Any = None  # the channel's own note

    def finish(self, value: Any = None, error: Optional[BaseException] = None) -> None:
        if self.done:
            return
        self.done, self.value, self.error = True, value, error
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.when_done is not None:
            self.when_done(self)

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


def finished(value: Any = None, error: Optional[BaseException] = None) -> Call:
    call = Call()
    call.finish(value, error)
    return call


class Asked:
    """A request that was received. `link` is the channel's own note of the way back; `size` its bytes on the wire."""

    __slots__ = ("id", "sender", "content", "link", "size")

    def __init__(self, id: str, sender: str, content: Any, link: Any, size: int) -> None:
        self.id, self.sender, self.content, self.link, self.size = id, sender, content, link, size


class Receiver:
    """What a channel reports, from inside callbacks of the loop. The member implements it."""

    def answered(self, id: str, value: Any, error: Optional[str], peer: str) -> None: ...
    def failed(self, calls: Iterable[Call], error: Callable[[], Exception]) -> None: ...
    def asked(self, request: Asked) -> None: ...
    def inspected(self, request: Asked) -> None: ...
    def received(self, message: Message) -> None: ...
    def told_to_end(self) -> None: ...
    def peers_changed(self) -> None: ...
    def ended(self, why: str) -> None: ...
    def complain(self, sentence: str) -> None: ...


class Channel:
    """A way to the bus under one name. Belongs to the thread of its loop."""

    name: str
    """The own name on the bus."""

    def open(self) -> None:
        """Joins the bus. May block for a moment, and may run in another thread than the rest. Raises BusError, NameTaken."""
        raise NotImplementedError

    def attach(self, loop: Any, receiver: Receiver) -> None:
        """Begins to report. Called once, after open()."""
        raise NotImplementedError

    def ask(self, call: Call, content: Any) -> None:
        """Sends the request `call` to call.peer. Reports its end by answered() or failed(). Raises PeerGone, UsageError."""
        raise NotImplementedError

    def forget(self, call: Call) -> None:
        """The caller does not wait for this request any more."""

    def room_for(self, peer: str) -> Optional[Call]:
        """Returns None if messages may be sent to the peer at once, or a call that ends when there is room again."""
        return None

    def answer(self, request: Asked, value: Any) -> None:
        """Raises PeerGone, UsageError."""
        raise NotImplementedError

    def refuse(self, request: Asked, text: str) -> None:
        """Answers with an error. Raises PeerGone."""
        raise NotImplementedError

    def send(self, peer: str, content: Any) -> Call:
        """Sends a general message. The value of the call is None."""
        raise NotImplementedError

    def broadcast(self, content: Any) -> Call:
        """Sends to all peers. The value of the call is the list of names that the message was sent to."""
        raise NotImplementedError

    def peers(self) -> Call:
        """The value of the call is the sorted list of the names of other peers."""
        raise NotImplementedError

    def watch_peers(self) -> None:
        """From now on peers_changed() is called after changes."""
        raise NotImplementedError

    def counts(self) -> Dict[str, int]:
        """Returns how many messages this name has `received` and `sent`, if the channel counts them itself."""
        return {}

    def suspend(self, expires: Optional[float]) -> Call:
        """Leaves a durable bus, which keeps messages for this name. The call ends when that is done."""
        raise NotImplementedError

    def reconnect(self) -> Call:
        """Joins again after suspend()."""
        raise NotImplementedError

    def hold(self, on: bool) -> None:
        """While on, no further requests and messages are wanted: the medium makes their senders wait."""

    def drain(self) -> List[Call]:
        """Returns calls that end when everything that was sent has left this process."""
        return []

    def keep_status(self, status: int) -> None:
        """The process is about to exit with that status, other than 0: the bus keeps it, if this process is the one that can tell."""

    def close(self) -> None:
        """Leaves the bus. Never raises. May be called at any time after open(), and again."""
        raise NotImplementedError

    def close_in_child(self) -> None:
        """In a forked child: closes the inherited descriptors and touches nothing else."""
        raise NotImplementedError
