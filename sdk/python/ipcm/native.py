"""ConnectionUnix in plain Python (docs/bus.md): messages over the connections of a member, and its place on the bus."""

from __future__ import annotations

import os
import socket
from typing import Any, Callable, Dict, Iterable, List, Optional

from .channel import Asked, Call, Channel, Receiver, finished
from .errors import BusError, PeerGone, ProtocolError, UsageError
from .frames import LARGEST, frame
from .info import BusInfo
from .inotify import Watch
from .link import Link
from .links import Links, LinksOwner
from .messages import Stamps, is_true, json_text, new_id, read_message
from .obituary import keep_status
from .presence import Place, Route, start_time


class ConnectionUnix(Channel, LinksOwner):
    """A member of a ConnectionUnix bus. With `listed`, it has a place on the bus, and any peer can send to it. Otherwise
    it leaves no trace on the bus, and only peers that it has sent to can reach it. With `serves`, it announces that it answers
    inspections."""

    def __init__(self, info: BusInfo, name: str, listed: bool, note: str = "", serves: bool = False) -> None:
        self.name = name
        self._info, self._listed, self._note, self._serves = info, listed, note, serves
        self._route: Route = None  # type: ignore[assignment]
        self._place: Optional[Place] = None
        self._listener: Optional[socket.socket] = None
        self._links: Links = None  # type: ignore[assignment]
        self._stamps = Stamps()
        self._counts: Dict[str, Dict[str, int]] = {"sent": {}, "read": {}}
        self._watch: Optional[Watch] = None  # one for all: a user has 128 of them by default
        self._watches_peers = False
        self._foreign: Dict[int, int] = {}  # pidfd → pid of peers whose death does not show in the directory
        self._closed = False
        self._loop: Any = None
        self._receiver = Receiver()

    # ---- life

    def open(self) -> None:
        self._route = Route(self._info.route)
        try:
            if self._listed:
                self._place = self._route.claim(self.name, self._note, self._serves)
                try:
                    self._counts = self._route.read_statistics(self._place.file)
                    self._listener = self._place.listen()
                    self._watch_place(self._place)
                    self._place.announce()
                except BaseException:
                    self._close_files()
                    self._place.vacate(None)
                    raise
        except OSError as error:
            self._route.close()
            raise BusError(f"the bus '{self._info.route}' can't be joined: {error}") from None
        except BaseException:
            self._route.close()
            raise

    def attach(self, loop: Any, receiver: Receiver) -> None:
        self._loop, self._receiver = loop, receiver
        self._links = Links(self.name, self._route, loop, self)
        if self._listener is not None:
            self._links.listen(self._listener)
        if self._watch is not None:
            loop.add_reader(self._watch.fileno(), self._changed)

    def keep_status(self, status: int) -> None:
        if self._place is not None and not self._closed and not self._place.is_lost():
            keep_status(self._route.fd, self._place.file, self.name, self._note, start_time(os.getpid()), status)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._links is not None:
            self._links.stop_listening()
        if self._watch is not None and self._loop is not None:
            self._loop.remove_reader(self._watch.fileno())
        for process in self._foreign:
            self._loop.remove_reader(process)
            os.close(process)
        self._foreign.clear()
        counted = self._counts if self._counts["sent"] or self._counts["read"] else None
        try:
            orphaned = self._route.is_orphaned()  # before leaving: a removal also removes the sign of it
            self._close_files()
            if self._place is not None:
                self._place.vacate(counted)
                if orphaned:
                    self._route.remove_if_orphaned()
            elif counted and not self._route.is_marked:
                self._route.write_statistics(self._route.disk_name(self.name), counted)
        except OSError:
            pass  # the bus was removed
        if self._links is not None:
            self._links.close_all(lambda: BusError("the connection to the bus was closed by the own program"))
        self._route.close()

    def _close_files(self) -> None:
        for one in (self._listener, self._watch):
            if one is not None:
                one.close()
        self._listener = self._watch = None

    def close_in_child(self) -> None:
        self._closed = True
        self._close_files()
        for process in self._foreign:
            os.close(process)
        for link in self._links.all if self._links is not None else ():
            link.close()
        if self._place is not None:
            self._place.close_in_child()
        self._route.close()

    def _watch_place(self, place: Place) -> None:
        """A member that can't watch its place (no watches are left) works all the same: it does not notice a removal."""
        try:
            self._watch = Watch()
            self._watch.add(self._route.address(place.file), Watch.ITSELF)
            self._watch.add(self._route.address("."), Watch.ITSELF)
        except OSError:
            pass

    def _changed(self) -> None:
        """The directory has changed, or the own place."""
        if self._watch is None or not self._watch.read():
            return
        if self._place is not None and self._place.is_lost():
            self._loop.remove_reader(self._watch.fileno())
            self._receiver.ended(f"its place on the bus is gone: '{self._route.path}/{self._place.file}' was removed, moved or "
                                 "replaced by another process; start it again on a bus that is there")
        elif self._watches_peers:
            self._follow_foreign()
            self._receiver.peers_changed()

    # ---- sending

    def _head(self, peer: str, broadcast: bool) -> str:
        mark = ',"broadcast":1' if broadcast else ""
        return f'{{"id":"{new_id()}","from":{json_text(self.name)},"to":{json_text(peer)},{self._stamps.next()}{mark},"content":'

    def _payload(self, peer: str, content: str, broadcast: bool = False) -> bytes:
        payload = (self._head(peer, broadcast) + content + "}").encode("ascii")
        if len(payload) > LARGEST:
            raise UsageError(f"a message of {len(payload)} bytes can't be sent: the limit is {LARGEST}")
        return frame(payload)

    def counts(self) -> Dict[str, int]:
        return {"received": sum(self._counts["read"].values()), "sent": sum(self._counts["sent"].values())}

    def _count(self, way: str, peer: str) -> None:
        counts = self._counts[way]
        counts[peer] = counts.get(peer, 0) + 1

    def _send(self, peer: str, data: bytes) -> Link:
        """Sends over the connection to a peer. Only sending shows that the peer has closed one; then a new one is tried,
        since the peer may have a successor of its name."""
        link = self._links.to(peer)
        if link is not None:
            self._expect_room(link)
            try:
                self._links.put(link, data)
                self._count("sent", peer)
                return link
            except PeerGone:
                pass
        link = self._links.connect(peer)
        self._links.put(link, data)
        self._count("sent", peer)
        return link

    @staticmethod
    def _expect_room(link: Link) -> None:
        if link.queued > Link.MOST:
            raise BusError(f"nothing was sent to '{link.peer}': it does not read, and {link.queued} bytes wait for it already")

    def room_for(self, peer: str) -> Optional[Call]:
        link = self._links.to(peer)
        if link is None or link.queued <= Link.HIGH:
            return None
        call = Call("", peer)
        link.waiters.append(call)
        return call

    def ask(self, call: Call, content: Any) -> None:
        text = f'{{"ipcm_request_id":"{call.id}","request":{json_text(content)}}}'
        link = self._send(call.peer, self._payload(call.peer, text))
        call.link = link
        link.calls[call.id] = call
        if not link.process_watched:
            self._links.watch_process(link)
        if not link.reads:
            self._links.want(link)  # the answer comes here

    def forget(self, call: Call) -> None:
        if call.link is not None:
            call.link.calls.pop(call.id, None)

    def answer(self, request: Asked, value: Any) -> None:
        self._respond(request, f'{{"ipcm_response_id":{json_text(request.id)},"response":{json_text(value)}}}')

    def refuse(self, request: Asked, text: str) -> None:
        words = json_text(text.encode("utf-8", "replace").decode())
        self._respond(request, f'{{"ipcm_response_id":{json_text(request.id)},"response":null,"ipcm_error":{words}}}')

    def _respond(self, request: Asked, content: str) -> None:
        data = self._payload(request.sender, content)
        link = request.link
        if link.is_open and link.queued > Link.MOST:
            self._links.close(link, None)
            raise PeerGone(request.sender, f"'{request.sender}' was cut off: it does not read its answers")
        if link.is_open:
            self._links.put(link, data)
            self._count("sent", request.sender)
        else:
            self._send(request.sender, data)

    def send(self, peer: str, content: Any) -> Call:
        self._send(peer, self._payload(peer, json_text(content)))
        return self.room_for(peer) or finished()

    def broadcast(self, content: Any) -> Call:
        text, reached = json_text(content), []
        for peer in self._route.peers():
            if peer.name == self.name:
                continue
            try:
                self._send(peer.name, self._payload(peer.name, text, True))
                reached.append(peer.name)
            except (PeerGone, BusError) as error:
                self._receiver.complain(f"a broadcast did not reach '{peer.name}': {error}")
        return finished(reached)

    def drain(self) -> List[Call]:
        waiting = []
        for link in self._links.all:
            if link.queue:
                call = Call()
                link.waiters.append(call)
                waiting.append(call)
        return waiting

    # ---- receiving

    def frame_came(self, link: Link, whole: Any, size: int) -> None:
        content = whole.get("content") if isinstance(whole, dict) else None
        is_request = type(content) is dict and is_true(content.get("ipcm_request_id"))
        if type(content) is dict and not is_request and is_true(content.get("ipcm_response_id")):
            self._answered(link, content)
            return
        try:
            message = read_message(whole, self.name)
        except ProtocolError as error:
            if not isinstance(whole, dict):
                raise
            if list(whole) != ["hello"]:  # the reference ignores a late greeting, too
                self._receiver.complain(f"a message on the connection of '{link.peer}' was dropped: {error}")
            return
        self._count("read", message.sender)
        if is_request:
            asked = Asked(str(content["ipcm_request_id"]), message.sender, content.get("request"), link, size)
            if self._serves and is_true(content.get("ipcm_inspect")):
                self._receiver.inspected(asked)
            else:
                self._receiver.asked(asked)
        elif type(content) is dict and is_true(content.get("terminate")):
            self._receiver.told_to_end()
        else:
            self._receiver.received(message)

    def _answered(self, link: Link, content: Any) -> None:
        peer = link.peer or ""
        self._count("read", peer)
        id = str(content["ipcm_response_id"])
        link.calls.pop(id, None)
        error = content.get("ipcm_error")
        self._receiver.answered(id, content.get("response"), str(error) if is_true(error) else None, peer)
        if not link.calls:
            self._links.want(link)

    def failed(self, calls: Iterable[Call], error: Callable[[], Exception]) -> None:
        self._receiver.failed(calls, error)

    def complain(self, sentence: str) -> None:
        self._receiver.complain(sentence)

    def hold(self, on: bool) -> None:
        self._links.hold(on)

    # ---- peers

    def peers(self) -> Call:
        return finished([peer.name for peer in self._route.peers() if not (self._listed and peer.name == self.name)])

    def suspend(self, expires: Optional[float]) -> Call:
        raise BusError(f"'{self.name}' can't suspend: protocol ConnectionUnix keeps no messages for an absent member; close, and connect again")

    def reconnect(self) -> Call:
        raise BusError(f"'{self.name}' is on the bus; on ConnectionUnix it never was suspended")

    def watch_peers(self) -> None:
        if self._watches_peers:
            return
        try:
            if self._watch is None:
                self._watch = Watch()
                self._loop.add_reader(self._watch.fileno(), self._changed)
            self._watch.add(self._route.address("."), Watch.CONTENTS)
        except OSError as error:
            raise BusError(f"peers can't be watched: {error.strerror}; raise fs.inotify.max_user_instances") from None
        self._watches_peers = True
        self._follow_foreign()

    def _follow_foreign(self) -> None:
        """The death of a peer without a lock does not show in the directory; its process tells."""
        wanted = {peer.pid for peer in self._route.peers() if not peer.has_lock and peer.pid > 0}
        for process, pid in list(self._foreign.items()):
            if pid not in wanted:
                self._loop.remove_reader(process)
                os.close(process)
                del self._foreign[process]
        for pid in wanted - set(self._foreign.values()):
            try:
                process = os.pidfd_open(pid)
            except OSError:
                continue
            self._foreign[process] = pid
            self._loop.add_reader(process, self._foreign_ended, process)

    def _foreign_ended(self, process: int) -> None:
        self._loop.remove_reader(process)
        del self._foreign[process]
        os.close(process)
        self._receiver.peers_changed()
