#!/usr/bin/env python3
"""Starts a service and sends it a request, with Python's standard library only: python_launcher.py BOOT_BINARY REQUEST."""
import json, os, socket, struct, subprocess, sys, tempfile, time, uuid

def frame(value):
    return struct.pack(">I", len(json.dumps(value))) + json.dumps(value).encode("ascii")

def message(content):
    return {"id": str(uuid.uuid4()), "from": "python", "to": "e", "stamp": time.time(), "stamp_ord": 0, "content": content}

with tempfile.TemporaryDirectory() as route:  # of mode 0700: this is the bus
    ready, its_ready = os.pipe()
    params = {"ipcm": 1, "name": "e", "class": "echo", "ipcm_info": ["ConnectionUnix", "JSON", route]}
    service = subprocess.Popen([sys.argv[1], "--ready-fd", str(its_ready), json.dumps(params)], pass_fds=[its_ready])
    os.close(its_ready)
    with open(ready) as pipe:
        told = pipe.read()  # the service closes the pipe after the ready line; the kernel closes it if the service dies
    if not told.endswith("\n"):
        sys.exit(f"not started: {told or 'it died'} (status {service.wait()})")
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rwb") as stream:
        connection.connect(route + "/e")
        stream.write(frame({"hello": "python"}))
        stream.write(frame(message({"ipcm_request_id": "r-1", "request": json.loads(sys.argv[2])})))
        stream.flush()
        answer = json.loads(stream.read(struct.unpack(">I", stream.read(4))[0]))
        stream.write(frame(message({"terminate": 1})))
        stream.flush()
        status = service.wait()
print(json.dumps({"ready": json.loads(told), "answer": answer["content"], "status": status}))
sys.exit(status)
