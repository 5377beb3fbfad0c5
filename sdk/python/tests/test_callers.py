"""Peers that do not follow the protocol."""

import json
import os
import select
import socket
import threading
import time
import unittest

import ipcm
from ipcm.frames import frame
from on_a_bus import HANG, OnABus


class Caller(OnABus):
    """Peers that do not follow the protocol."""

    def setUp(self):
        super().setUp()
        self.bus = ipcm.connect_sync(name="me")
        self.addCleanup(self.bus.close)

    def call(self, data, greeting=b'{"hello":"bad"}'):
        stream = socket.socket(socket.AF_UNIX)
        self.addCleanup(stream.close)
        stream.settimeout(HANG)
        stream.connect(os.path.join(self.route, "me"))
        stream.sendall((frame(greeting) if greeting else b"") + data)
        return stream

    def run_until_closed(self, stream):
        """Lets the connection `bus` work until it has closed the other end of the stream."""
        self.bus._loop.run_until(lambda: bool(select.select([stream], [], [], 0)[0]), time.monotonic() + HANG)
        self.assertEqual(stream.recv(1), b"")

    def expect_cut_off(self, data, greeting=b'{"hello":"bad"}'):
        stream = self.call(data, greeting)
        self.run_until_closed(stream)

    def test_garbage_costs_its_sender_the_connection(self):
        for data in (frame(b"{"), frame(b"[1]"), frame(b"\0ipcm\x02"), b"\xff\xff\xff\xff", frame(b"\xff"), frame(b"3")):
            with self.subTest(data[:12]):
                self.expect_cut_off(data)
                self.bus._member.messages.values.clear()
        for greeting in (b"{}", b"3", b'{"hello":""}', b"x"):
            self.expect_cut_off(b"", greeting)

    def test_an_incomplete_message_is_dropped_alone(self):
        good = {"from": "bad", "content": "good"}
        data = b"".join(frame(json.dumps(one).encode()) for one in ({"from": "bad"}, {"content": 1}, {"from": "bad", "content": None}, {"hello": "x"},
                                                                    {"from": "bad", "content": {"ipcm_response_id": "unknown"}}, good))
        self.call(data)
        self.assertEqual(self.bus.receive(timeout=HANG).content, "good")

    def test_a_message_in_pieces_arrives_whole(self):
        data = frame(json.dumps({"from": "bad", "content": "x" * 200_000}).encode())
        stream = self.call(data[:3])
        threading.Thread(target=lambda: [stream.sendall(data[at:at + 10_001]) for at in range(3, len(data), 10_001)]).start()
        self.assertEqual(len(self.bus.receive(timeout=HANG).content), 200_000)

    def test_silent_callers_give_way(self):
        streams = [self.call(b"", None) for _ in range(300)]
        self.run_until_closed(streams[43])
        self.call(frame(b'{"from":"bad","content":1}'))
        self.assertEqual(self.bus.receive(timeout=HANG).content, 1)

    def test_terminate_ends_the_connection(self):
        self.call(frame(b'{"from":"spawn","content":{"terminate":1}}'))
        with self.assertRaisesRegex(ipcm.BusError, "told to leave"):
            self.bus.receive(timeout=HANG)
        self.assertEqual(self.files(), [])


if __name__ == "__main__":
    unittest.main()
