"""Both faces of a member: requests, their deadlines and errors, and peers that join and leave."""

import asyncio
import os
import socket
import unittest
import unittest.mock

import ipcm
from on_a_bus import HANG, OnABus, asynchronous


class Asking(OnABus):
    def setUp(self):
        super().setUp()
        self.ipcm("start", "echo")

    def test_both_faces_ask_and_get_the_same(self):
        value = {"a": [1, 2.5, None, "ü"]}
        with ipcm.connect_sync() as bus:
            self.assertEqual(bus.request("echo", value, timeout=HANG), value)
            self.assertEqual(list(bus.requests("echo", range(500), jobs=100)), list(range(500)))

        async def ask():
            async with ipcm.connect() as bus:
                self.assertEqual(await bus.request("echo", value, timeout=HANG), value)
                self.assertEqual(await asyncio.gather(*(bus.request("echo", one) for one in range(500))), list(range(500)))
        asyncio.run(ask())

    def test_the_nearest_name_is_suggested(self):
        with ipcm.connect_sync() as bus, self.assertRaisesRegex(ipcm.PeerGone, "did you mean 'echo'"):
            bus.request("ecko", 1)

    def test_a_message_above_the_limit_is_refused_before_it_is_sent(self):
        with ipcm.connect_sync() as bus, unittest.mock.patch("ipcm.native.LARGEST", 100_000):
            self.assertEqual(len(bus.request("echo", "x" * 99_000, timeout=HANG)), 99_000)
            with self.assertRaisesRegex(ipcm.UsageError, "the limit is 100000"):
                bus.request("echo", "x" * 100_000)
            self.assertEqual(bus.request("echo", 1, timeout=HANG), 1)

    @asynchronous
    async def test_a_cancelled_request_is_forgotten(self):
        async with ipcm.connect(name="me") as bus, ipcm.connect(name="silent"):
            task = asyncio.ensure_future(bus.request("silent", 1))
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(await bus.request("echo", 2, timeout=HANG), 2)
            self.assertEqual(bus._member._calls, {})

    @asynchronous
    async def test_a_client_refuses_requests(self):
        async with ipcm.connect(name="me") as bus, ipcm.connect(name="mute") as mute:
            mute._member.on_asked = None
            with self.assertRaisesRegex(ipcm.RemoteError, "does not answer requests"):
                await bus.request("mute", 1, timeout=HANG)

    def test_a_deadline_has_its_own_error_which_is_a_TimeoutError(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(self.route, "silent"))
        listener.listen()
        self.addCleanup(listener.close)
        with open(os.path.join(self.route, "silent.pid"), "w") as file:
            file.write(str(os.getpid()))
        with ipcm.connect_sync() as bus:
            with self.assertRaises(TimeoutError):
                bus.request("silent", 1, timeout=0.05)
            listener.close()
            with self.assertRaises(ipcm.PeerGone):
                bus.request("silent", 1, timeout=HANG)
        os.unlink(os.path.join(self.route, "silent"))
        os.unlink(os.path.join(self.route, "silent.pid"))

    @asynchronous
    async def test_a_receiver_that_does_not_read_makes_its_sender_wait(self):
        async with ipcm.connect() as bus:
            reader = ipcm.connect_sync(name="slow")  # reads nothing outside of its calls
            sent = 0

            async def flood():
                nonlocal sent
                while True:
                    await bus.send("slow", "x" * 100_000)
                    sent += 1
            task = asyncio.ensure_future(flood())
            before = -1
            while before != sent or sent == 0:
                before = sent
                await asyncio.sleep(0.05)  # the sender has stopped when the count stands still
            self.assertLess(sent * 100_000, 8 << 20)
            task.cancel()
            loop = asyncio.get_running_loop()  # which sends what is queued meanwhile
            for _ in range(sent):
                message = await loop.run_in_executor(None, lambda: reader.receive(timeout=HANG))
                self.assertEqual(len(message.content), 100_000)
            reader.close()

    def test_events_of_the_synchronous_face(self):
        with ipcm.connect_sync() as bus:
            bus.watch()
            events = bus.events(timeout=HANG)
            with ipcm.connect_sync(name="guest"):
                self.assertEqual(repr(next(events)), "<ipcm.Event join 'guest'>")
            self.assertEqual(repr(next(events)), "<ipcm.Event leave 'guest'>")


if __name__ == "__main__":
    unittest.main()
