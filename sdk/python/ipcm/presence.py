"""The place of a peer on a ConnectionUnix bus: its name, its files, and which peers live.

A Route belongs to one thread. Its descriptors are of no use after a fork; see close_in_child().
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import select
import socket
import stat
import time
from typing import Any, Dict, List, NamedTuple, Optional

from . import entries, locks, obituary
from .errors import BusError, NameTaken
from .inotify import Watch

_CLEARING_TIME = 0.1  # seconds


class Peer(NamedTuple):
    """A peer in a listing. `has_lock`: it is one of ipcm, and the directory reports its death."""

    name: str
    pid: int
    has_lock: bool


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    except OverflowError:
        return False
    return True


def start_time(pid: int) -> float:
    """Returns when a process started, Unix seconds; 0: unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        now = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return now + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


class Route:
    """The directory of a bus. Raises BusError if it is none, or others can write to it."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise BusError(f"there is no bus at '{path}': {os.strerror(error.errno or 0)}; its owner may have taken it down") from None
        try:
            self.is_marked = self._expect_bus()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _expect_bus(self) -> bool:
        facts = os.fstat(self.fd)
        begin = f"there is no bus at '{self.path}': "
        if facts.st_uid != os.geteuid() and os.geteuid() != 0:
            raise BusError(f"{begin}the directory belongs to user {facts.st_uid}")
        if facts.st_mode & 0o022:
            raise BusError(f"{begin}other users can write to the directory; a bus has mode 0700")
        if self._kind(".info") == stat.S_IFREG:
            return True
        if self._kind(".info.closed") == stat.S_IFREG:
            raise BusError(begin + "it is being taken down")
        if entries.is_named_by_the_reference(self.path):
            return False
        others = entries.strangers(self.fd)
        if others:
            raise BusError(f"{begin}it has no mark, and '{others[0]}' in it is no file of a bus; `ipcm bus new` makes one")
        if not os.listdir(self.fd) and facts.st_mode & 0o077:
            raise BusError(begin + "it is empty, and open to other users")
        return False

    def _stat(self, file: str) -> Optional[os.stat_result]:
        try:
            return os.stat(file, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _kind(self, file: str) -> int:
        facts = self._stat(file)
        return stat.S_IFMT(facts.st_mode) if facts else 0

    def _read(self, file: str, most: int = 64 * 1024 * 1024) -> Optional[bytes]:
        try:
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.fd)
        except OSError:
            return None
        with open(fd, "rb") as opened:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode) or not entries.is_trusted(facts, os.fstat(self.fd)):
                return None
            return opened.read(most)

    def _write(self, file: str, data: bytes) -> None:
        pending = f".{file}.pend"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(pending, flags, 0o644, dir_fd=self.fd), "wb") as opened:
            opened.write(data)
        os.rename(pending, file, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def _unlink(self, file: str) -> bool:
        try:
            os.unlink(file, dir_fd=self.fd)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True

    def address(self, file: str) -> str:
        """Returns a path of a file that fits into the address of a socket, however long the route is."""
        path = os.path.join(self.path, file)
        return path if len(os.fsencode(path)) < 108 else f"/proc/self/fd/{self.fd}/{file}"

    def disk_name(self, peer: str) -> str:
        return entries.disk_name(peer, self.path)

    def endpoint(self, peer: str) -> Optional[os.stat_result]:
        """Returns the facts of a peer's endpoint, or None."""
        facts = self._stat(self.disk_name(peer))
        return facts if facts and entries.is_endpoint(facts) and entries.is_trusted(facts, os.fstat(self.fd)) else None

    def is_trusted_user(self, user: int) -> bool:
        return user in (os.fstat(self.fd).st_uid, 0, os.geteuid())

    # ---- which peers live

    def noted_pid(self, file: str) -> int:
        """Returns the process id that a peer has noted; 0: none."""
        try:
            return max(int(self._read(file + ".pid", 64) or b"0"), 0)
        except ValueError:
            return 0

    def _foreign_lives(self, file: str, pid: int) -> bool:
        """Returns whether a peer without a lock lives. Its pid is a claim; its endpoint shows more."""
        noted = self._stat(file + ".pid")
        if pid != os.getpid() and _is_running(pid) and (noted is None or start_time(pid) <= noted.st_mtime + 0.02):
            return True
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as one:
            try:
                one.connect(self.address(file))
            except BlockingIOError:
                return True
            except OSError as error:
                return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
            return True

    def _peer(self, file: str) -> Optional[Peer]:
        """Returns the peer with that file; None if it is dead or gone."""
        lock = locks.look(self.fd, f".{file}.lock")
        if lock.held:
            return None if lock.clearing else Peer(file, lock.pid, True)
        pid = self.noted_pid(file)
        if lock.exists and pid in (0, lock.written_by):
            return None
        if pid == 0:
            return Peer(file, 0, False)  # a foreign peer that is joining
        return Peer(file, pid, False) if self._foreign_lives(file, pid) else None

    def peers(self) -> List[Peer]:
        """Returns the peers that live, sorted by name. Removes the files of dead ones, as every peer of ipcm does."""
        found = []
        for file in os.listdir(self.fd):
            if not entries.may_be_endpoint(file):
                continue
            facts = self._stat(file)
            if facts is None or not entries.is_endpoint(facts) or not entries.is_trusted(facts, os.fstat(self.fd)):
                continue
            peer = self._peer(file)
            if peer is None:
                self._clear_leftovers(file)
                continue
            name = file
            if entries.is_hashed(file):
                real = self._read(file + ".name", 4096)
                if real is None:
                    continue  # it is joining or leaving
                name = real.decode("utf-8", "replace")
            found.append(peer._replace(name=name))
        return sorted(found)

    def _is_leftover(self, file: str, lock: locks.HeldLock) -> bool:
        pid = self.noted_pid(file)
        if lock.left and pid in (0, lock.left_by):
            return True
        return pid != 0 and not self._foreign_lives(file, pid)

    def _remove_all_of(self, file: str) -> bool:
        if entries.is_known(self.fd, file) and not self._unlink(file):
            return False
        for suffix in (".pid", ".name", ".suspend", ".stats", ".resume"):
            if entries.is_known(self.fd, file + suffix):
                self._unlink(file + suffix)
        return True

    def _clear_leftovers(self, file: str) -> None:
        before = locks.look(self.fd, f".{file}.lock")  # its note goes with the next line
        # The lock is held meanwhile, so that no peer takes the name in between.
        lock = locks.acquire(self.fd, f".{file}.lock", locks.CLEARING, locks.TAIL)
        if isinstance(lock, int):
            return
        is_leftover = self._is_leftover(file, lock)
        if is_leftover and lock.left and lock.left_by == before.written_by and before.note not in ("", locks.CLEARING):
            name = (self._read(file + ".name", 4096) or b"").decode("utf-8", "replace") if entries.is_hashed(file) else file
            if name:
                obituary.keep_unknown(self.fd, file, name, before.note, before.written_by)
        if is_leftover and not self._remove_all_of(file):
            lock.put_back(self.noted_pid(file))
        else:
            lock.release(self.fd)

    # ---- an own place

    def claim(self, name: str, note: str, inspectable: bool = False) -> "Place":
        """Takes a name. `inspectable`: the peer answers inspections. Raises NameTaken, BusError. The caller then listens, and calls Place.announce()."""
        entries.check_peer_name(name)
        file = self.disk_name(name)
        lock = self._lock(file, name, note, inspectable)
        try:
            if self.is_marked and self._kind(".info") == 0:
                raise BusError(f"there is no bus at '{self.path}': it is being taken down")
            if self._kind(file):
                if not self._is_leftover(file, lock):
                    raise NameTaken(name, self.noted_pid(file), self.path)
                self._remove_all_of(file)
            if note:
                self._unlink(f".{file}.obituary")  # that of its predecessor: it tells how the latest process of a name died
        except BaseException:
            if lock.left:
                lock.put_back(lock.left_by)
            else:
                lock.release(self.fd)
            raise
        return Place(self, name, file, lock)

    def _lock(self, file: str, name: str, note: str, inspectable: bool) -> locks.HeldLock:
        lock = locks.acquire(self.fd, f".{file}.lock", note, inspectable=inspectable)
        if not isinstance(lock, int):
            return lock
        if not locks.look(self.fd, f".{file}.lock").clearing:
            raise NameTaken(name, lock, self.path)
        # Another process removes the files of a dead peer of that name. The directory reports the end of that.
        until = time.monotonic() + _CLEARING_TIME
        with Watch() as watch:  # OSError: none is left
            watch.add(self.address("."), Watch.CONTENTS)
            while isinstance(lock, int):
                facts = locks.look(self.fd, f".{file}.lock")
                if facts.held and (not facts.clearing or not select.select([watch], [], [], max(until - time.monotonic(), 0))[0]):
                    raise NameTaken(name, facts.pid, self.path)
                watch.read()
                lock = locks.acquire(self.fd, f".{file}.lock", note, inspectable=inspectable)
        return lock

    def is_orphaned(self) -> bool:
        """Returns whether the owner of the bus is dead, or the directory was removed."""
        if os.fstat(self.fd).st_nlink == 0:
            return True
        owner = locks.look(self.fd, ".owner")
        return owner.exists and not owner.held

    def read_statistics(self, file: str) -> Dict[str, Dict[str, int]]:
        try:
            told = json.loads(self._read(file + ".stats") or b"{}")
            return {way: {str(peer): int(count) for peer, count in told.get(way, {}).items()} for way in ("sent", "read")}
        except (ValueError, AttributeError, TypeError):
            return {"sent": {}, "read": {}}

    def write_statistics(self, file: str, counts: Dict[str, Any]) -> None:
        """Writes the counts of messages that the sanity check of the reference compares."""
        try:
            self._write(file + ".stats", json.dumps(counts).encode("ascii"))
        except OSError:
            pass  # the bus is being removed, or the disk is full

    def remove_if_orphaned(self) -> None:
        """Removes the bus if its owner is dead and no peer is left: the last service that leaves does so."""
        if os.fstat(self.fd).st_nlink and self.is_orphaned() and not self.peers():
            self._remove_bus()

    def _remove_bus(self) -> None:
        def rename(before: str, after: str) -> bool:
            try:
                os.rename(before, after, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            except OSError:
                return False
            return True
        if not rename(".info", ".info.closed"):
            return  # another process removes it, or it is none of ipcm
        # A peer that joins now finds the mark closed; one that has joined before holds its lock.
        held = any(locks.look(self.fd, file).held for file in os.listdir(self.fd) if file.endswith(".lock") or file == ".owner")
        if held:
            rename(".info.closed", ".info")
            return
        was_found = self._kind(".found") != 0
        for file in os.listdir(self.fd):
            if not entries.is_mark(file) and entries.is_known(self.fd, file):
                self._unlink(file)
        for file in os.listdir(self.fd):
            if entries.is_mark(file) and entries.is_known(self.fd, file):
                self._unlink(file)
        if not was_found:
            try:
                os.rmdir(self.path)
            except OSError:
                pass  # entries that belong to no bus stay


class Place:
    """A name on the bus that this process holds."""

    def __init__(self, route: Route, name: str, file: str, lock: locks.HeldLock) -> None:
        self.route, self.name, self.file, self._lock = route, name, file, lock
        self._inode = 0

    def listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # Between bind() and listen() a caller is refused, and would take this process for a dead one. So the socket gets
        # its name when it listens.
        pending = f".{secrets.token_hex(4)}.pend"
        directory = self.route.fd
        try:
            listener.bind(self.route.address(pending))
            try:
                listener.listen(socket.SOMAXCONN)
                os.link(pending, self.file, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
            finally:
                self.route._unlink(pending)
            self._inode = os.stat(self.file, dir_fd=self.route.fd, follow_symlinks=False).st_ino
        except BaseException:
            listener.close()
            raise
        return listener

    def announce(self) -> None:
        """Tells the bus that this peer can receive now."""
        if entries.is_hashed(self.file):
            self.route._write(self.file + ".name", self.name.encode("utf-8"))
        self.route._write(self.file + ".pid", str(os.getpid()).encode("ascii"))

    def is_lost(self) -> bool:
        """Returns whether another process has removed or replaced this place."""
        try:
            if os.fstat(self.route.fd).st_nlink == 0:
                return True
            there = os.stat(self.route.path)
            here = os.fstat(self.route.fd)
            if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
                return True
            return os.stat(self.file, dir_fd=self.route.fd, follow_symlinks=False).st_ino != self._inode
        except OSError:
            return True

    def vacate(self, counts: Optional[Dict[str, Any]]) -> None:
        """Gives up the name and removes its files, except the statistics."""
        if counts:
            self.route.write_statistics(self.file, counts)
        if not self.is_lost():
            if not self.route._unlink(self.file):
                self._lock.put_back(os.getpid())  # the next process that lists the bus tries again
                return
            self.route._unlink(self.file + ".pid")
        elif self.route.noted_pid(self.file) == os.getpid():
            self.route._unlink(self.file + ".pid")  # not that of a successor
        if not counts:
            self.route._unlink(self.file + ".name")
        self._lock.release(self.route.fd)

    def close_in_child(self) -> None:
        """Closes the lock file in a forked child. The lock of the parent is not touched."""
        self._lock.let_go()
