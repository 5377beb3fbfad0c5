"""All connections of one member of a ConnectionUnix bus: those that it opens, and its callers."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from typing import Any, Callable, Dict, Iterable, Optional, Set

from .channel import Call
from .errors import BusError, PeerGone, ProtocolError, did_you_mean
from .frames import frame
from .link import Link, credentials, process_of
from .messages import json_text, json_value
from .presence import Route

_GREETING_TIME = 10.0  # seconds in which a caller must greet
_CONNECT_TIME = 5  # seconds that a connection waits for room in the queue of a listener
_MOST_SILENT = 256
_INPUT_LIMIT = int(os.environ.get("IPCM_INPUT_LIMIT") or 256) * 1024 * 1024


class LinksOwner:
    """What the connections report."""

    def frame_came(self, link: Link, whole: Any, size: int) -> None:
        """A JSON value of `size` bytes came from a peer that has greeted. Raises ProtocolError to cut the peer off."""

    def failed(self, calls: Iterable[Call], error: Callable[[], Exception]) -> None: ...
    def complain(self, sentence: str) -> None: ...


class Links:
    """See above. Belongs to the thread of its loop. `all` are the open connections."""

    def __init__(self, name: str, route: Route, loop: Any, owner: LinksOwner) -> None:
        self.all: Set[Link] = set()
        self._name, self._route, self._loop, self._owner = name, route, loop, owner
        self._by_peer: Dict[str, Link] = {}  # the connection that is used for sending to a peer
        self._silent: Dict[Link, None] = {}  # callers that have not greeted, in the order of their arrival
        self._listener: Optional[socket.socket] = None
        self._held = False

    def listen(self, listener: socket.socket) -> None:
        """Accepts callers from now on. The listener is borrowed."""
        self._listener = listener
        self._loop.add_reader(listener.fileno(), self._accept)

    def stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener = None

    def close_all(self, why: Callable[[], Exception]) -> None:
        for link in list(self.all):
            self.close(link, why)

    def to(self, peer: str) -> Optional[Link]:
        """Returns the connection that is used for sending to a peer, or None."""
        return self._by_peer.get(peer)

    # ---- opening

    def connect(self, peer: str) -> Link:
        facts = self._route.endpoint(peer)
        if facts is None:
            near = did_you_mean(peer, (one.name for one in self._route.peers()))
            raise PeerGone(peer, f"there is no peer '{peer}' on the bus {self._route.path}{near}")
        if facts.st_size == 0 and not stat.S_ISSOCK(facts.st_mode):
            raise PeerGone(peer, f"'{peer}' does not listen, and has no connection open to '{self._name}'")
        address = self._route.address(self._route.disk_name(peer))
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            try:
                stream.connect(address)
            except BlockingIOError:  # the queue of the listener is full
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _CONNECT_TIME, 0))
                stream.setblocking(True)
                stream.connect(address)
                stream.setblocking(False)
            if not self._route.is_trusted_user(credentials(stream)[1]):
                raise PeerGone(peer, f"'{peer}' can't be reached: user {credentials(stream)[1]} listens in its place")
        except OSError as error:
            stream.close()
            if error.errno == errno.EAGAIN:
                raise BusError(f"'{peer}' takes no connection: its queue was full for {_CONNECT_TIME} s") from None
            raise PeerGone(peer, f"'{peer}' can't be reached: its process is gone ({os.strerror(error.errno or 0)})") from None
        except BaseException:
            stream.close()
            raise
        link = Link(stream, peer)
        self.all.add(link)
        self._by_peer[peer] = link
        self.want(link)
        self.put(link, frame(f'{{"hello":{json_text(self._name)}}}'.encode("ascii")))
        return link

    def _accept(self) -> None:
        assert self._listener is not None
        for _ in range(64):
            try:
                stream, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._accept_later(error)
                return
            stream.setblocking(False)
            user = credentials(stream)[1]
            if user not in (os.geteuid(), 0):
                self._owner.complain(f"a caller of user {user} was refused")
                stream.close()
                continue
            if len(self._silent) >= _MOST_SILENT:
                self._drop_silent("a caller that did not greet was dropped: too many of them wait")
            link = Link(stream, None)
            self.all.add(link)
            self._silent[link] = None
            link.timer = self._loop.call_later(_GREETING_TIME, self.close, link, None)
            self.want(link)

    def _accept_later(self, error: OSError) -> None:
        """After a failure such as EMFILE: the oldest silent caller gives way, and the next attempt comes a little later."""
        self._owner.complain(f"callers have to wait: {error}")
        self._drop_silent("")
        fd = self._listener.fileno() if self._listener is not None else -1
        self._loop.remove_reader(fd)

        def again() -> None:
            if self._listener is not None:
                self._loop.add_reader(fd, self._accept)
        self._loop.call_later(0.1, again)

    def _drop_silent(self, why: str) -> None:
        for link in list(self._silent):
            self._receive(link)  # its greeting may have arrived
            if link in self._silent:
                if why:
                    self._owner.complain(why)
                self.close(link, None)
                return

    def _greeted(self, link: Link, whole: Any) -> None:
        name = whole.get("hello") if isinstance(whole, dict) else None
        if not isinstance(name, str) or not name:
            raise ProtocolError("it did not greet")
        link.peer = name
        del self._silent[link]
        link.timer.cancel()
        link.timer = None
        # A connection that this member has opened stays the one for sending: messages must not overtake each other.
        before = self._by_peer.get(name)
        if before is None or not before.opened_by_us:
            self._by_peer[name] = link

    # ---- sending

    def put(self, link: Link, data: bytes) -> None:
        """Raises PeerGone if the peer has closed the connection."""
        try:
            if link.put(data) and len(link.queue) == 1:
                self._loop.add_writer(link.fd, self._flush, link)
        except OSError as error:
            self._read_rest(link)
            self.close(link, lambda: self.gone(link))
            raise PeerGone(link.peer or "", f"'{link.peer}' can't be reached: {os.strerror(error.errno or 0)}") from None

    def _flush(self, link: Link) -> None:
        try:
            if link.flush():
                self._loop.remove_writer(link.fd)
        except OSError:
            self._read_rest(link)
            self.close(link, None)

    # ---- receiving

    def want(self, link: Link) -> None:
        """Reads from a connection, or stops to. While requests are held back, only connections are read on which an answer
        is due: a peer that has to wait for its turn fills its own queue."""
        reads = link.is_open and (not self._held or bool(link.calls))
        if reads == link.reads:
            return
        link.reads = reads
        if reads:
            self._loop.add_reader(link.fd, self._receive, link)
        else:
            self._loop.remove_reader(link.fd)

    def hold(self, on: bool) -> None:
        if self._held != on:
            self._held = on
            for link in list(self.all):
                self.want(link)

    def _receive(self, link: Link) -> bool:
        """Reads once. Returns whether something came."""
        try:
            payloads = link.receive()
        except ProtocolError as error:
            self._cut_off(link, str(error))
            return False
        except OSError:
            payloads = None
        if payloads is None:
            self.close(link, None)
            return False
        for payload in payloads:
            if not self._take(link, payload):
                return False
        if not payloads and link.reader.held() > Link.HIGH:
            self._limit_input()
            return True
        return bool(payloads)

    def _cut_off(self, link: Link, why: str) -> None:
        self._owner.complain(f"{repr(link.peer) if link.peer else 'a caller'} was cut off: {why}")
        self.close(link, None)

    def _limit_input(self) -> None:
        if sum(link.reader.held() for link in self.all) > _INPUT_LIMIT:
            largest = max(self.all, key=lambda link: link.reader.held())
            self._cut_off(largest, f"unfinished messages of all senders have more than {_INPUT_LIMIT} bytes ($IPCM_INPUT_LIMIT, in MiB)")

    def _take(self, link: Link, payload: Any) -> bool:
        """Takes one frame. Returns whether the connection is still open."""
        try:
            whole = json_value(payload)
            if link.peer is None:
                self._greeted(link, whole)
            else:
                self._owner.frame_came(link, whole, len(payload))
        except ProtocolError as error:
            self._cut_off(link, str(error))
        return link.is_open

    # ---- the end

    def watch_process(self, link: Link) -> None:
        """A child of the peer may hold the connection open after the peer has died: its process tells."""
        link.process_watched = True
        if credentials(link.stream)[0] == os.getpid():
            return
        link.process = process_of(link.stream)
        if link.process >= 0:
            self._loop.add_reader(link.process, self._process_ended, link)

    def _process_ended(self, link: Link) -> None:
        self._read_rest(link)
        self.close(link, lambda: PeerGone(link.peer or "", f"'{link.peer}' went away before it answered: its process has ended"))

    def gone(self, link: Link) -> PeerGone:
        if link.peer is not None and self._route.fd >= 0 and self._route.endpoint(link.peer) is None:
            return PeerGone(link.peer, f"'{link.peer}' went away before it answered: it left the bus")
        return PeerGone(link.peer or "", f"'{link.peer}' closed the connection before it answered: its process has ended, or it "
                        "cut this member off (see its log); whether it has taken the request in can't be told")

    def _read_rest(self, link: Link) -> None:
        """Reads what a peer sent before it left."""
        while link.is_open and self._receive(link):
            pass

    def close(self, link: Link, why: "Optional[Callable[[], Exception]]") -> None:
        if not link.is_open:
            return
        if link.reads:
            self._loop.remove_reader(link.fd)
            link.reads = False
        if link.queue:
            self._loop.remove_writer(link.fd)
        if link.process >= 0:
            self._loop.remove_reader(link.process)
        if link.timer is not None:
            link.timer.cancel()
        link.close()
        self.all.discard(link)
        self._silent.pop(link, None)
        if link.peer is not None and self._by_peer.get(link.peer) is link:
            del self._by_peer[link.peer]
            for other in self.all:
                if other.peer == link.peer:
                    self._by_peer[link.peer] = other
        calls, link.calls = link.calls, {}
        if calls:
            self._owner.failed(calls.values(), why or (lambda: self.gone(link)))
        waiters, link.waiters = link.waiters, []
        for waiter in waiters:
            waiter.finish()
