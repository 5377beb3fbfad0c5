#!/usr/bin/env python3
"""The client of the conformance suite, with the Python kit: python_client.py INFO."""

import asyncio
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../sdk/python"))
sys.dont_write_bytecode = True
import ipcm  # noqa: E402


def tell(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


class Peer:
    def __init__(self, info):
        self.info, self.bus, self.tasks = info, None, set()

    def spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def messages(self):
        async for one in self.bus.messages():
            tell({"message": {"from": one.sender, "content": one.content, "broadcast": one.broadcast}})

    async def events(self, events):
        async for event in events:
            tell({"event": event.kind, "peer": event.peer})

    async def run(self, order):
        op = order["op"]
        if op == "connect":
            self.bus = await ipcm.connect(self.info, name=order.get("name"))
            self.spawn(self.messages())
            return self.bus.name
        if op == "request":
            return await self.bus.request(order["to"], order.get("content"), timeout=order.get("timeout"))
        if op == "large":
            text = "0123456789abcdef" * (order["size"] // 16)
            return await self.bus.request(order["to"], {"do": "echo", "value": text}) == text
        if op == "send":
            await self.bus.send(order["to"], order["content"])
            return True
        if op == "broadcast":
            return await self.bus.broadcast(order["content"])
        if op == "peers":
            return await self.bus.peers()
        if op == "watch":
            await self.bus.watch()
            self.spawn(self.events(self.bus.events()))
            return True
        if op == "leave":
            if self.bus is not None:
                await self.bus.close()
            return True
        raise NotImplementedError(op)

    async def obey(self, order):
        try:
            tell({"tag": order.get("tag"), "ok": await self.run(order)})
        except NotImplementedError as error:
            tell({"tag": order.get("tag"), "error": "unsupported", "text": str(error)})
        except ipcm.Error as error:
            tell({"tag": order.get("tag"), "error": type(error).__name__, "text": str(error)})


async def main(info):
    peer, stdin = Peer(info), asyncio.StreamReader(limit=1 << 28)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    while True:
        line = await stdin.readline()
        if not line:
            return
        order = json.loads(line)
        if order["op"] in ("connect", "leave", "watch", "send"):
            await peer.obey(order)  # what follows begins after it
        else:
            peer.spawn(peer.obey(order))
            await asyncio.sleep(0)  # sent in the order of the lines
        if order["op"] == "leave":
            return


asyncio.run(main(sys.argv[1]))
