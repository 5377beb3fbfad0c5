"""A boot binary in Python whose service misbehaves: fake_boot.py HOW [--ready-fd N] [--params-fd M | PARAMS].

HOW: echo      answers with the request
     fails     answers {"fail": WHY} with the error WHY, anything else with the request
     mute      reads requests and never answers
     dies      kills itself at a request
     leaves    leaves the bus at a request and ends with status 0
     talks     writes "begin" to its stdout; writes each request to its stdout, and answers with it
     sighs     writes a last line to its stderr at a request and kills itself
     deaf      leaves neither on terminate nor on SIGTERM; writes a line to the pipe $DEAF_TELLS when it gets one of them
"""

import json
import os
import selectors
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from peer import Peer  # noqa: E402


def read_command_line(words):
    ready = params = None
    at = 0
    while at < len(words):
        if words[at] == "--ready-fd":
            ready = int(words[at + 1])
            at += 2
        elif words[at] == "--params-fd":
            with open(int(words[at + 1])) as file:
                params = json.load(file)
            at += 2
        else:
            params = json.loads(words[at])
            at += 1
    return ready, params


def answer(how, peer, connection, asked):
    """Handles one request. Returns False if the service ends."""
    request = asked["content"]["request"]
    if how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "leaves":
        return False
    if how == "sighs":
        os.write(2, b"it is all over\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "talks":
        os.write(1, request.encode() + b"\n")
    if how == "fails" and isinstance(request, dict) and "fail" in request:
        peer.answer(connection, asked, None, request["fail"])
    elif how != "mute":
        peer.answer(connection, asked, request)
    return True


def serve(how, peer):
    selector = selectors.DefaultSelector()
    selector.register(peer.listener, selectors.EVENT_READ, None)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                connection = peer.accept()
                selector.register(connection.stream, selectors.EVENT_READ, connection)
                continue
            received = key.data.receive()
            if received is None:
                selector.unregister(key.fileobj)
                key.data.close()
                continue
            content = received["content"]
            if isinstance(content, dict) and content.get("ipcm_request_id"):
                if not answer(how, peer, key.data, received):
                    return
            elif isinstance(content, dict) and content.get("terminate"):
                if how != "deaf":
                    return
                if "DEAF_TELLS" in os.environ:
                    with open(os.environ["DEAF_TELLS"], "w") as file:
                        file.write("asked to leave\n")


def main():
    how = sys.argv[1]
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "talks":
        os.write(1, b"begin\n")
    ready, params = read_command_line(sys.argv[2:])
    info = params["ipcm_info"]
    with Peer((json.loads(info) if isinstance(info, str) else info)[2], params["name"]) as peer:
        if ready is not None:
            os.write(ready, json.dumps({"ready": True, "name": params["name"], "pid": os.getpid()}).encode() + b"\n")
            os.close(ready)
        serve(how, peer)


main()
