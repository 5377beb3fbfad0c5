#!/usr/bin/env python3
"""How long does a request take through the kit, beside a bare Python socket client of the same service?

  ipcm session -- sh -c 'ipcm start echo && python3 sdk/python/bench/round_trip.py'

A bare client opens one connection, writes a frame with json.dumps and reads the answer with json.loads; it has no deadline, no
ids, and does not notice the death of the service. The blocking client reads with recv(), the asyncio clients with streams and with sock_recv(). The
clients take turns, so that all meet the same noise of the machine; each figure is the median of the rounds."""

import asyncio
import json
import os
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import ipcm  # noqa: E402

ROUNDS, REQUESTS = int(os.environ.get("ROUNDS", "15")), int(os.environ.get("REQUESTS", "400"))
SERVICE = "echo"


def frame(value):
    payload = json.dumps(value).encode("ascii")
    return len(payload).to_bytes(4, "big") + payload


def ask(number, content):
    return frame({"id": f"bare-{number}", "from": "bare", "to": SERVICE, "stamp": time.time(), "stamp_ord": 0,
                  "content": {"ipcm_request_id": f"bare-{number}", "request": content}})


class BareBlocking:
    def __init__(self, route):
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.connect(os.path.join(route, SERVICE))
        self.stream.sendall(frame({"hello": "bare"}))

    def request(self, number, content):
        self.stream.sendall(ask(number, content))
        data = self.stream.recv(65536)
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            data += self.stream.recv(65536)
        return json.loads(data[4:])["content"]["response"]


class BareAsyncio:
    async def open(self, route):
        self.reader, self.writer = await asyncio.open_unix_connection(os.path.join(route, SERVICE), limit=1 << 24)
        self.writer.write(frame({"hello": "bare2"}))

    async def request(self, number, content):
        self.writer.write(ask(number, content))
        size = int.from_bytes(await self.reader.readexactly(4), "big")
        return json.loads(await self.reader.readexactly(size))["content"]["response"]


class BareAsyncioSocket:
    """The fastest bare client on an event loop: no streams, only the socket calls of the loop."""

    def open(self, route):
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.connect(os.path.join(route, SERVICE))
        self.stream.sendall(frame({"hello": "bare3"}))
        self.stream.setblocking(False)

    async def request(self, number, content):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.stream, ask(number, content))
        data = await loop.sock_recv(self.stream, 65536)
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            data += await loop.sock_recv(self.stream, 65536)
        return json.loads(data[4:])["content"]["response"]


def blocking_round(call, content):
    begin = time.perf_counter()
    for number in range(REQUESTS):
        call(number, content)
    return (time.perf_counter() - begin) / REQUESTS * 1e6


async def asyncio_round(call, content):
    begin = time.perf_counter()
    for number in range(REQUESTS):
        await call(number, content)
    return (time.perf_counter() - begin) / REQUESTS * 1e6


def main():
    route = json.loads(os.environ["IPCM_INFO"])[2]
    loop = asyncio.new_event_loop()
    bare, bare_async = BareBlocking(route), BareAsyncio()
    loop.run_until_complete(bare_async.open(route))
    bare_socket = BareAsyncioSocket()
    bare_socket.open(route)
    bus, sync_bus = loop.run_until_complete(ipcm.connect()._connect()), ipcm.connect_sync()
    clients = {
        "bare blocking socket": lambda content: blocking_round(bare.request, content),
        "kit, synchronous": lambda content: blocking_round(lambda _, what: sync_bus.request(SERVICE, what, timeout=5), content),
        "bare asyncio streams": lambda content: loop.run_until_complete(asyncio_round(bare_async.request, content)),
        "bare asyncio socket": lambda content: loop.run_until_complete(asyncio_round(bare_socket.request, content)),
        "kit, asyncio": lambda content: loop.run_until_complete(asyncio_round(lambda _, what: bus.request(SERVICE, what, timeout=5), content)),
    }
    print(f"Python {sys.version.split()[0]}; microseconds a request, median of {ROUNDS} rounds of {REQUESTS}")
    for size in (64, 4096):
        times = {name: [] for name in clients}
        for _ in range(ROUNDS):
            for name, call in clients.items():
                times[name].append(call("x" * size))
        middle = {name: statistics.median(all) for name, all in times.items()}
        for name, base in (("kit, synchronous", "bare blocking socket"), ("kit, asyncio", "bare asyncio streams"),
                           ("kit, asyncio", "bare asyncio socket")):
            print(f"{size:5} B  {base} {middle[base]:6.1f}   {name} {middle[name]:6.1f}   ratio {middle[name] / middle[base]:.2f}")
    sync_bus.close()
    loop.run_until_complete(bus.close())
    bare_async.writer.close()


if __name__ == "__main__":
    main()
