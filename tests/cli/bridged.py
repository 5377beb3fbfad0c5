"""A program behind `ipcm bridge --serve`, for tests: a boot binary that is a few lines of Python. Its `args` choose what it does."""

import json
import os
import signal
import socket
import subprocess
import sys


def bridge_of(arguments):
    """Starts the bridge, and returns the process and the two ends of the conversation."""
    ours, theirs = socket.socketpair()
    os.set_inheritable(theirs.fileno(), True)
    number = str(theirs.fileno())
    # All descriptors of the boot contract go on to the bridge; Python's own are closed on exec.
    bridge = subprocess.Popen([os.environ["IPCM_TEST_IPCM"], "bridge", "--serve", "--fds", f"{number},{number}", "--", *arguments],
                              close_fds=False)
    theirs.close()
    for place, word in enumerate(arguments):
        if word == "--ready-fd":
            os.close(int(arguments[place + 1]))
    return bridge, ours.makefile("r", encoding="utf-8", newline="\n"), ours.makefile("w", encoding="utf-8", newline="\n")


def main():
    bridge, lines, out = bridge_of(sys.argv[1:])

    def tell(**line):
        out.write(json.dumps(line) + "\n")
        out.flush()

    held, args = [], {}
    for text in lines:
        line = json.loads(text)
        kind = line["type"]
        if kind == "joined":
            args = line["args"] or {}
            if args.get("pids"):
                with open(args["pids"], "w") as file:
                    file.write(f"{os.getpid()} {bridge.pid}")
            print("stray output on stdout", flush=True)
            print("stray output on stderr", file=sys.stderr, flush=True)
            if args.get("fail"):
                tell(op="fail", error=args["fail"])
            elif args.get("die"):
                os._exit(9)
            elif args.get("hang"):
                signal.pause()
            else:
                tell(op="ready", id="r")
        elif kind == "request":
            what = line.get("content")
            if what == "fail":
                tell(op="error", request=line["request"], error="it failed on purpose")
            elif what == "hold":
                held.append(line["request"])
            elif what == "release":
                for number in reversed(held + [line["request"]]):
                    tell(op="answer", request=number, content=number)
                held.clear()
            elif what == "self":
                tell(op="answer", request=line["request"], content={"pid": os.getpid(), "bridge": bridge.pid, "class": args})
            elif what == "die":
                os._exit(9)
            elif what == "leave":
                tell(op="leave", status=7)
            elif what == "deaf":
                tell(op="answer", request=line["request"], content="deaf")
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.pause()
            elif isinstance(what, dict) and "ask" in what:
                tell(op="request", id=line["request"], to=what["ask"], content=what["what"], timeout=20)
            elif "bytes" in line:
                tell(op="answer", request=line["request"], bytes=line["bytes"])
            else:
                tell(op="answer", request=line["request"], content=what)
        elif kind == "response":
            tell(op="answer", request=line["id"], content=line["content"])
        elif kind == "error" and line.get("op") == "request":
            tell(op="error", request=line["id"], error=line["error"])
        elif kind == "end":
            break
    out.close()
    lines.close()
    sys.exit(bridge.wait() if args.get("wait") else 0)


if __name__ == "__main__":
    main()
