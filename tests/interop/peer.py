"""A peer of the ConnectionUnix protocol in plain Python: what another language does to be on a bus. See docs and wire.md."""

import json
import os
import socket
import struct
import time
import uuid

HANG = 20 * int(os.environ.get("IPCM_TEST_PATIENCE", "1"))  # seconds; ends a hang, asserts no speed


def frame(value):
    """One frame: a length of four bytes, big-endian, and the JSON text; bytes are taken as they are."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode("ascii")
    return struct.pack(">I", len(payload)) + payload


def message(sender, to, content):
    return {"id": str(uuid.uuid4()).upper(), "from": sender, "to": to, "stamp": time.time(), "stamp_ord": 0, "content": content}


def request_content(value, request_id=None):
    return {"ipcm_request_id": request_id or str(uuid.uuid4()).upper(), "request": value}


class Connection:
    """One stream, in frames."""

    def __init__(self, stream):
        self.stream = stream
        self.stream.settimeout(HANG)
        self.peer = None  # who greeted, or whom we greeted

    @classmethod
    def to(cls, route, peer, own_name):
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(HANG)
        stream.connect(os.path.join(route, peer))
        connection = cls(stream)
        connection.peer = peer
        connection.send({"hello": own_name})
        return connection

    def send(self, value):
        self.stream.sendall(frame(value))

    def send_bytes(self, data):
        self.stream.sendall(data)

    def receive_payload(self):
        """The next frame's bytes; None when the peer has closed."""
        head = self._exactly(4)
        if head is None:
            return None
        return self._exactly(struct.unpack(">I", head)[0])

    def receive(self):
        payload = self.receive_payload()
        return None if payload is None else json.loads(payload)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.stream.recv(size - len(data))
            if not piece:
                return None
            data += piece
        return data

    def close(self):
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Peer:
    """A name on the bus, able to receive."""

    def __init__(self, route, name):
        self.route, self.name = route, name
        self.path = os.path.join(route, name)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.settimeout(HANG)
        self.listener.bind(self.path)
        self.listener.listen(socket.SOMAXCONN)
        # Only now, as we are able to receive: the file that says that we are here.
        with open(self.path + ".pid.pend", "w") as file:
            file.write(str(os.getpid()))
        os.rename(self.path + ".pid.pend", self.path + ".pid")

    def accept(self):
        connection = Connection(self.listener.accept()[0])
        hello = connection.receive()
        connection.peer = hello["hello"] if hello else None
        return connection

    def answer(self, connection, asked, value, error=None):
        """Answers the message `asked`, a request, over the connection that it came by."""
        content = {"ipcm_response_id": asked["content"]["ipcm_request_id"], "response": value}
        if error is not None:
            content["ipcm_error"] = error
        connection.send(message(self.name, asked["from"], content))

    def leave(self):
        self.listener.close()
        for path in (self.path, self.path + ".pid"):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass  # the bus went first

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()
