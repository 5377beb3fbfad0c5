"""A peer of the ConnectionUnix protocol in plain Python, as an example for other languages. See docs/bus.md."""

import json
import os
import socket
import struct
import time
import uuid

HANG = 20 * int(os.environ.get("IPCM_TEST_PATIENCE", "1"))  # seconds; only ends a hang


def frame(value):
    """Returns one frame: a length of four bytes, big-endian, and the JSON text. Bytes are used unchanged."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode("ascii")
    return struct.pack(">I", len(payload)) + payload


def message(sender, to, content):
    return {"id": str(uuid.uuid4()).upper(), "from": sender, "to": to, "stamp": time.time(), "stamp_ord": 0, "content": content}


def request_content(value, request_id=None):
    return {"ipcm_request_id": request_id or str(uuid.uuid4()).upper(), "request": value}


class Connection:
    """A stream of frames."""

    def __init__(self, stream):
        self.stream = stream
        self.stream.settimeout(HANG)
        self.peer = None  # the name in the greeting of either side

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
        """Returns the bytes of the next frame; None if the peer has closed the connection."""
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
    """A member of the bus that can receive."""

    def __init__(self, route, name):
        self.route, self.name = route, name
        self.path = os.path.join(route, name)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.settimeout(HANG)
        self.listener.bind(self.path)
        self.listener.listen(socket.SOMAXCONN)
        # The pid file announces the peer. It is written last, when the peer can receive.
        with open(self.path + ".pid.pend", "w") as file:
            file.write(str(os.getpid()))
        os.rename(self.path + ".pid.pend", self.path + ".pid")

    def accept(self):
        connection = Connection(self.listener.accept()[0])
        hello = connection.receive()
        connection.peer = hello["hello"] if hello else None
        return connection

    def answer(self, connection, asked, value, error=None):
        """Answers the request `asked` on its connection."""
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
                pass  # the bus was removed before

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()
