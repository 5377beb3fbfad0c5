#!/usr/bin/env python3
"""The client of the conformance suite that is the command `ipcm`: command_client.py INFO. It does what one command can do."""

import json
import os
import subprocess
import sys
import threading


def tell(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def kind_of(status, text):
    if status == 4:
        return "Timeout"
    if status == 1:
        return "RemoteError"
    return "PeerGone" if status == 3 else "UsageError"


def run(order, info):
    words = {"connect": [], "leave": [], "peers": ["ps"], "request": ["request", order.get("to"), json.dumps(order.get("content"))],
             "send": ["send", order.get("to"), json.dumps(order.get("content"))]}.get(order["op"])
    if words is None or (order["op"] == "connect" and order.get("name")):
        return {"error": "unsupported", "text": order["op"]}
    if not words:
        return {"ok": True}
    if order.get("timeout"):
        words += ["--timeout", str(order["timeout"])]
    done = subprocess.run([os.environ["IPCM_TEST_IPCM"], "--bus", info, "--json", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        text = done.stderr.strip()
        try:
            text = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            pass
        return {"error": kind_of(done.returncode, text), "text": text}
    if order["op"] == "peers":
        return {"ok": sorted(row["name"] for row in json.loads(done.stdout))}
    return {"ok": json.loads(done.stdout) if order["op"] == "request" else True}


def main(info):
    threads = []
    for line in sys.stdin:
        order = json.loads(line)

        def obey(order=order):
            tell({"tag": order.get("tag"), **run(order, info)})
        if order["op"] == "request":
            threads.append(threading.Thread(target=obey))
            threads[-1].start()
        else:
            obey()
        if order["op"] == "leave":
            break


main(sys.argv[1])
