"""A peer in plain Python, for each protocol whose store its standard library can open: sockets, files, pipes, sqlite3. It does
what docs/bus.md specifies for a foreign peer, and uses no code of this library.

  foreign.py INFO NAME

It writes {"joined": PID} to stdout, then each message that it receives, one JSON object on each line. Each line of stdin is a message to
send: {"to": NAME, "content": ANY}; without "to" it is a broadcast. At the end of stdin it leaves the bus."""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import random
import select
import socket
import sqlite3
import stat
import struct
import sys
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from peer import Connection, frame  # noqa: E402

IN_MODIFY, IN_MOVED_TO, IN_CREATE = 0x2, 0x80, 0x100
SIDE_FILES = (".pid", ".name", ".resume", ".stats", ".suspend")


class Watch:
    """An inotify watch on one directory or file; readable after an event."""

    def __init__(self, path, mask):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if libc.inotify_add_watch(self.fd, os.fsencode(path), mask) < 0:
            raise OSError(ctypes.get_errno(), path)

    def fileno(self):
        return self.fd

    def forget(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.read(self.fd, 65536)


class Order:
    """Increasing stamps, as a sender must use them."""

    def __init__(self):
        self.stamp, self.ord = 0.0, 0

    def next(self):
        now = max(time.time(), self.stamp)
        self.ord = self.ord + 1 if now == self.stamp else 0
        self.stamp = now
        return self.stamp, self.ord


def message_of(order, sender, to, content, broadcast=False):
    """Returns a message with its keys in random order, as the reference writes it."""
    stamp, number = order.next()
    whole = [("id", str(uuid.uuid4()).upper()), ("from", sender), ("to", to), ("stamp", stamp), ("stamp_ord", number), ("content", content)]
    if broadcast:
        whole.append(("broadcast", 1))
    random.shuffle(whole)
    return dict(whole)


def alive(pid):
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


class Directory:
    """The common part of the protocols whose route is a directory: names, and the file with the pid."""

    def __init__(self, route, name):
        self.route, self.name, self.order = route, name, Order()
        self.path = os.path.join(route, name)
        self.counts = {"sent": {}, "read": {}}
        self.open()
        # The pid file announces the peer. It is written last, when the peer can receive.
        self.write_whole(self.path + ".pid", str(os.getpid()).encode(), ".pid.pend")

    def write_whole(self, path, data, pending):
        beside = os.path.splitext(path)[0] + pending
        with open(beside, "wb") as file:
            file.write(data)
        os.rename(beside, path)

    def peers(self):
        for name in os.listdir(self.route):
            if name[0] in "._" or name.endswith(SIDE_FILES) or name == self.name:
                continue
            with contextlib.suppress(OSError):
                with open(os.path.join(self.route, name + ".pid")) as file:
                    if alive(int(file.read())):
                        yield name

    def send(self, to, content):
        for peer in [to] if to else list(self.peers()):
            self.deliver(peer, message_of(self.order, self.name, peer, content, broadcast=not to))
            self.counts["sent"][peer] = self.counts["sent"].get(peer, 0) + 1

    def read(self):
        got = sorted(self.take(), key=lambda one: (float(one.get("stamp", 0)), int(one.get("stamp_ord", 0))))
        for one in got:
            self.counts["read"][one["from"]] = self.counts["read"].get(one["from"], 0) + 1
        return got

    def leave(self):
        with contextlib.suppress(FileNotFoundError):
            self.close()
        with contextlib.suppress(FileNotFoundError):  # the bus may have gone first
            self.write_whole(self.path + ".stats", json.dumps(self.counts).encode(), ".stats.pend")


class ConnectionUnix(Directory):
    def open(self):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(socket.SOMAXCONN)
        self.nameless, self.connections = [], {}

    def sources(self):
        return [self.listener.fileno()] + [one.stream.fileno() for one in [*self.nameless, *self.connections.values()]]

    def take(self):
        for one in [*self.nameless, *self.connections.values()]:
            while select.select([one.stream], [], [], 0)[0]:
                told = one.receive()  # waits for the rest of a frame
                if told is None:
                    self.drop(one)
                    break
                if "hello" in told:
                    one.peer = told["hello"]
                    self.nameless = [other for other in self.nameless if other is not one]
                    self.connections[one.peer] = one
                else:
                    yield told
        if select.select([self.listener], [], [], 0)[0]:
            self.nameless.append(Connection(self.listener.accept()[0]))

    def drop(self, one):
        self.nameless = [other for other in self.nameless if other is not one]
        if self.connections.get(one.peer) is one:
            del self.connections[one.peer]
        one.close()

    def deliver(self, peer, message):
        if peer not in self.connections:
            self.connections[peer] = Connection.to(self.route, peer, self.name)
        self.connections[peer].send_bytes(frame(message))

    def close(self):
        os.unlink(self.path)


class UnixSocket(Directory):
    def open(self):
        self.inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.inbox.bind(self.path)
        self.outbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def sources(self):
        return [self.inbox.fileno()]

    def take(self):
        while select.select([self.inbox], [], [], 0)[0]:
            yield json.loads(self.inbox.recv(65536))

    def deliver(self, peer, message):
        self.outbox.sendto(json.dumps(message).encode("ascii"), os.path.join(self.route, peer))

    def close(self):
        os.unlink(self.path)


class MessageFiles(Directory):
    def open(self):
        os.mkdir(self.path)
        self.watch = Watch(self.path, IN_MOVED_TO)

    def sources(self):
        return [self.watch.fileno()]

    def take(self):
        self.watch.forget()
        for name in os.listdir(self.path):
            if name.endswith(".ready"):
                with open(os.path.join(self.path, name), "rb") as file:
                    yield json.load(file)
                os.unlink(os.path.join(self.path, name))

    def deliver(self, peer, message):
        self.write_whole(os.path.join(self.route, peer, message["id"] + ".ready"), json.dumps(message).encode("ascii"), ".pend")

    def close(self):
        away = os.path.join(self.route, "_" + self.name)
        os.rename(self.path, away)
        for name in os.listdir(away):
            os.unlink(os.path.join(away, name))
        os.rmdir(away)


class AtomicPipe(Directory):
    """Messages in parts. Each part is one write, which the kernel does not split; it names its sender and the number of parts that follow."""

    HEAD = struct.Struct("=iiII")
    LARGEST = 4096 - HEAD.size

    def open(self):
        os.mkfifo(self.path, 0o700)
        self.fifo = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.unread, self.parts = b"", {}

    def sources(self):
        return [self.fifo]

    def take(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.unread += os.read(self.fifo, 1 << 20)
        while len(self.unread) >= self.HEAD.size:
            pid, thread, left, size = self.HEAD.unpack_from(self.unread)
            if len(self.unread) < self.HEAD.size + size:
                return
            part, self.unread = self.unread[self.HEAD.size:self.HEAD.size + size], self.unread[self.HEAD.size + size:]
            whole = self.parts[pid, thread] = self.parts.get((pid, thread), b"") + part
            if left == 0:
                del self.parts[pid, thread]
                yield json.loads(whole)

    def deliver(self, peer, message):
        text = json.dumps(message).encode("ascii")
        pieces = [text[at:at + self.LARGEST] for at in range(0, len(text), self.LARGEST)]
        fifo = os.open(os.path.join(self.route, peer), os.O_WRONLY | os.O_CLOEXEC)
        for left, piece in zip(reversed(range(len(pieces))), pieces):
            os.write(fifo, self.HEAD.pack(os.getpid(), 0, left, len(piece)) + piece)
        os.close(fifo)

    def close(self):
        os.unlink(self.path)


class SQLite:
    """Rows in a database. There is no stamp_ord, and a reader polls."""

    def __init__(self, route, name):
        self.name, self.order = name, Order()
        self.counts = {"sent": {}, "read": {}}
        self.db = sqlite3.connect(route, timeout=30, isolation_level=None)
        self.watch = Watch(os.path.dirname(route), IN_MODIFY | IN_CREATE)
        self.db.execute("INSERT INTO ipcm_peers(id, pid, active) VALUES(?, ?, ?)", (name, os.getpid(), time.time()))

    @staticmethod
    def create(route):
        """Makes the tables that the reference makes for a new bus."""
        with contextlib.closing(sqlite3.connect(route, isolation_level=None)) as db:
            db.execute("CREATE TABLE ipcm_peers(id VARCHAR(512) NOT NULL PRIMARY KEY, pid INTEGER, active REAL DEFAULT NULL, stats BLOB, "
                       "suspend_expires REAL DEFAULT NULL)")
            db.execute('CREATE TABLE ipcm_messages(id UUID NOT NULL PRIMARY KEY, "to" VARCHAR(512) NOT NULL REFERENCES ipcm_peers(id) ON DELETE '
                       'CASCADE, "from" VARCHAR(512) NOT NULL REFERENCES ipcm_peers(id) ON DELETE CASCADE, stamp REAL NOT NULL, content BLOB NOT '
                       "NULL, broadcast BOOL NOT NULL DEFAULT 0)")
        os.chmod(route, 0o600)

    def sources(self):
        return [self.watch.fileno()]

    def read(self):
        self.watch.forget()
        rows = self.db.execute('SELECT id, "from", "to", stamp, content, broadcast FROM ipcm_messages WHERE "to" = ? ORDER BY stamp', (self.name,)).fetchall()
        for row in rows:
            self.db.execute("DELETE FROM ipcm_messages WHERE id = ?", (row[0],))
            whole = dict(zip(("id", "from", "to", "stamp", "content"), row), **({"broadcast": row[5]} if row[5] else {}))
            whole["content"] = json.loads(whole["content"])
            self.counts["read"][row[1]] = self.counts["read"].get(row[1], 0) + 1
            yield whole

    def peers(self):
        for name, pid in self.db.execute("SELECT id, pid FROM ipcm_peers WHERE active IS NOT NULL AND id <> ?", (self.name,)).fetchall():
            if pid is None or alive(pid):
                yield name

    def send(self, to, content):
        for peer in [to] if to else list(self.peers()):
            stamp, order = self.order.next()
            self.db.execute('INSERT INTO ipcm_messages(id, "to", "from", stamp, content, broadcast) VALUES(?, ?, ?, ?, ?, ?)',
                            (str(uuid.uuid4()).upper(), peer, self.name, stamp + order * 1e-6, json.dumps(content).encode("ascii"), 0 if to else 1))
            self.counts["sent"][peer] = self.counts["sent"].get(peer, 0) + 1

    def leave(self):
        with contextlib.suppress(sqlite3.OperationalError):  # the bus may have gone first
            self.db.execute("UPDATE ipcm_peers SET pid = NULL, active = NULL, suspend_expires = NULL WHERE id = ?", (self.name,))
            self.db.execute("UPDATE ipcm_peers SET stats = ? WHERE id = ?", (json.dumps(self.counts).encode(), self.name))
        self.db.close()


class JSONFile:
    """One document, which the holder of its lock rewrites in place."""

    def __init__(self, route, name):
        self.route, self.name, self.order = route, name, Order()
        self.counts = {"sent": {}, "read": {}}
        self.watch = Watch(route, IN_MODIFY)
        with self.locked() as all:
            all["clients"][name] = {"pid": os.getpid()}

    @contextlib.contextmanager
    def locked(self):
        with open(self.route, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            all = json.load(file)
            before = json.dumps(all)
            yield all
            if json.dumps(all) != before:
                file.seek(0)
                file.write(json.dumps(all).encode("ascii"))
                file.truncate()

    @staticmethod
    def create(route):
        with open(os.open(route, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"clients": {}, "messages": {}, "stats": {}}, file)

    def sources(self):
        return [self.watch.fileno()]

    def read(self):
        self.watch.forget()
        with self.locked() as all:
            got = all["messages"].pop(self.name, [])
        for one in got:
            self.counts["read"][one["from"]] = self.counts["read"].get(one["from"], 0) + 1
        return got

    def send(self, to, content):
        with self.locked() as all:
            for peer in [to] if to else [one for one in all["clients"] if one != self.name]:
                all["messages"].setdefault(peer, []).append(message_of(self.order, self.name, peer, content, broadcast=not to))
                self.counts["sent"][peer] = self.counts["sent"].get(peer, 0) + 1

    def leave(self):
        with contextlib.suppress(FileNotFoundError), self.locked() as all:  # the bus may have gone first
            del all["clients"][self.name]
            all["stats"][self.name] = self.counts


PROTOCOLS = {one.__name__: one for one in (ConnectionUnix, UnixSocket, MessageFiles, AtomicPipe, SQLite, JSONFile)}


def make_bus(protocol, route):
    """Makes the store of a bus, as its owner does."""
    if hasattr(PROTOCOLS[protocol], "create"):
        PROTOCOLS[protocol].create(route)
    else:
        os.mkdir(route, stat.S_IRWXU)


def main(info, name):
    protocol, serializer, route = (part.rsplit("::", 1)[-1] for part in json.loads(info))
    assert serializer == "JSON", serializer
    peer = PROTOCOLS[protocol](route, name)

    def tell(value):
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    tell({"joined": os.getpid()})
    unread = b""
    while True:
        ready = select.select([0, *peer.sources()], [], [])[0]
        for message in peer.read():
            tell(message)
        if 0 not in ready:
            continue
        piece = os.read(0, 1 << 20)
        if not piece:
            return peer.leave()
        *lines, unread = (unread + piece).split(b"\n")
        for line in lines:
            order = json.loads(line)
            peer.send(order.get("to"), order["content"])


if __name__ == "__main__":
    main(*sys.argv[1:])
