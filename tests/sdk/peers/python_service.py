#!/usr/bin/env python3
"""The service of the conformance suite, with the Python kit."""

import asyncio
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../sdk/python"))
sys.dont_write_bytecode = True
from ipcm import serve  # noqa: E402

held, messages, seen = {}, [], {}
waiting = set()


def note():
    for future in waiting:
        future.done() or future.set_result(None)


async def until(is_so):
    while not is_so():
        future = asyncio.get_running_loop().create_future()
        waiting.add(future)
        await future
        waiting.discard(future)


@serve.start
async def start():
    args = serve.args or {}
    if args.get("fail"):
        raise RuntimeError(args["fail"])
    if args.get("gate"):
        await asyncio.get_running_loop().run_in_executor(None, lambda: open(args["gate"]).read())


@serve.message
async def message(one):
    messages.append({"from": one.sender, "content": one.content, "broadcast": one.broadcast})
    note()


@serve.event
async def event(one):
    seen[one.peer] = one.kind
    note()


@serve.request
async def handle(request):
    order = request.content
    act = order["do"]
    if act == "echo":
        return order.get("value")
    if act == "fail":
        raise RuntimeError(order["text"])
    if act == "print":
        print(order["text"])
        print(order["text"], file=sys.stderr)
        return True
    if act == "pid":
        return os.getpid()
    if act == "args":
        return len((serve.args or {}).get("big", ""))
    if act == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "send":
        await serve.bus.send(order["to"], order["content"])
        return True
    if act == "broadcast":
        await serve.bus.broadcast(order["content"])
        return True
    if act == "ask":
        return await serve.bus.request(order["to"], order["content"])
    if act == "hold":
        future = held.setdefault(order["key"], asyncio.get_running_loop().create_future())
        return await future
    if act == "release":
        future = held.pop(order["key"], None)
        if future is not None:
            future.set_result(order.get("value"))
        return True
    if act == "messages":
        await until(lambda: len(messages) >= order["count"])
        return messages
    if act == "saw":
        await until(lambda: seen.get(order["peer"]) == order["kind"])
        return True
    raise ValueError(f"unknown order {act}")


serve.main()
