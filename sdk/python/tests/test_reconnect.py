"""Members that go away and come back under their name, on buses that keep messages, and on ConnectionUnix, which keeps none."""

import json
import os
import select
import subprocess
import unittest

import ipcm
from on_a_bus import COMMAND, HANG, OnABus, asynchronous

ECHO = """
    import os
    from ipcm import serve
    @serve.request
    async def handle(request):
        if request.content == "hang":
            await __import__("asyncio").get_running_loop().create_future()
        return os.getpid()
    serve.main()
"""

# A member that is killed after it has read one message.
READER = """
    import ipcm, sys
    bus = ipcm.connect_sync(name="me")
    print(bus.receive().content, flush=True)
    sys.stdin.read()
"""


class Restarted:
    """What holds on every bus: a service that is killed and started again is found under its name."""

    def start(self):
        return ipcm.start_sync("x", boot=self.program(ECHO), timeout=HANG)

    def kill(self, service, asker):
        """Kills the process of the service, and waits until the asker sees that it has left."""
        asker.watch()
        events = asker.events(timeout=HANG)
        process = os.pidfd_open(service.pid)
        self.addCleanup(os.close, process)
        os.kill(service.request("pid", timeout=HANG), 9)
        self.assertTrue(select.select([process], [], [], HANG)[0])
        for event in events:
            if (event.kind, event.peer) == ("leave", "x"):
                break

    def test_a_service_that_was_killed_is_found_again_under_its_name(self):
        with ipcm.connect_sync(name="asker") as asker:
            first = self.start()
            held = asker.request("x", "pid", timeout=HANG)
            self.kill(first, asker)
            with self.assertRaises(ipcm.PeerGone):
                asker.request("x", "pid", timeout=HANG)
            with self.start():
                self.assertNotIn(asker.request("x", "pid", timeout=HANG), (held, None))
            first.stop()

    def test_a_request_that_is_open_when_its_service_is_killed_fails_and_the_next_is_answered(self):
        with ipcm.connect_sync(name="asker") as asker, ipcm.connect_sync() as killer:
            first = self.start()
            call = asker._member.call("x", "hang", None)
            self.kill(first, killer)
            with self.assertRaises(ipcm.PeerGone):
                asker._wait(call)
            with self.start():
                self.assertIsInstance(asker.request("x", "pid", timeout=HANG), int)
            first.stop()

    def test_a_client_that_was_restarted_is_found_by_its_peers(self):
        with ipcm.connect_sync(name="sender") as sender:
            for number in range(3):
                with ipcm.connect_sync(name="me") as me:
                    sender.send("me", number)
                    self.assertEqual(me.receive(timeout=HANG).content, number)

    def test_the_removal_of_the_bus_ends_a_member_and_a_new_bus_is_joined(self):
        with ipcm.connect_sync(name="me") as bus:
            removal = subprocess.Popen([COMMAND, "bus", "rm", self.info], stdin=subprocess.DEVNULL)  # it waits for the members
            with self.assertRaises(ipcm.BusError):
                bus.receive(timeout=HANG)
            self.assertEqual(removal.wait(HANG), 0)
            with self.assertRaises(ipcm.BusError):
                bus.send("me", 1)
        self.info = json.dumps(json.loads(self.ipcm("bus", "new", "--protocol", self.PROTOCOL, "--json"))["info"])
        with ipcm.connect_sync(self.info, name="me") as bus:
            self.assertEqual(bus.peers(), [])


class OnConnectionUnix(Restarted, OnABus):
    def test_a_member_can_not_suspend_and_reconnect_is_a_join(self):
        with ipcm.connect_sync(name="me", reconnect=True) as bus:
            with self.assertRaisesRegex(ipcm.BusError, "keeps no messages"):
                bus.suspend()
            with self.assertRaisesRegex(ipcm.BusError, "is on the bus"):
                bus.reconnect()
            self.assertEqual(bus.peers(), [])


class OnMessageFiles(Restarted, OnABus):
    PROTOCOL = "MessageFiles"

    def test_a_suspended_member_gets_its_messages_and_events_when_it_reconnects(self):
        with ipcm.connect_sync(name="me") as bus, ipcm.connect_sync(name="sender") as sender:
            bus.watch()
            self.assertEqual(bus.peers(), ["sender"])
            bus.suspend(expires=600)
            sender.send("me", "kept")
            with self.assertRaisesRegex(ipcm.UsageError, "suspended"):
                bus.send("sender", 1)
            with self.assertRaises(ipcm.Error):
                ipcm.connect_sync(name="me")
            with ipcm.connect_sync(name="late"):
                bus.reconnect()
                self.assertEqual(bus.receive(timeout=HANG).content, "kept")
                for event in bus.events(timeout=HANG):
                    if (event.kind, event.peer) == ("join", "late"):
                        break
            with self.assertRaisesRegex(ipcm.UsageError, "is on the bus"):
                bus.reconnect()

    @asynchronous
    async def test_the_asyncio_face_suspends_and_another_process_takes_over(self):
        async with ipcm.connect(name="sender") as sender:
            async with ipcm.connect(name="me") as bus:
                await bus.suspend()
            await sender.send("me", ["kept", 1])
            await sender.send("me", ["kept", 2])
            async with ipcm.connect(name="me", reconnect=True) as again:
                self.assertEqual([(await again.receive(timeout=HANG)).content for _ in range(2)], [["kept", 1], ["kept", 2]])

    def test_a_member_that_was_killed_leaves_its_unread_messages_to_its_successor(self):
        with ipcm.connect_sync(name="sender") as sender:
            reader = subprocess.Popen(self.program(READER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            sender.wait_for("me", timeout=HANG)
            sender.send("me", "read")
            self.assertEqual(reader.stdout.readline(), "read\n")
            bridge = json.loads(self.ipcm("ps", "--json"))
            os.kill(next(row["pid"] for row in bridge if row["name"] == "me"), 19)  # it reads nothing more
            sender.send("me", "unread")
            os.kill(next(row["pid"] for row in bridge if row["name"] == "me"), 9)
            reader.kill()
            reader.communicate()
            with ipcm.connect_sync(name="me", reconnect=True) as again:
                contents = [again.receive(timeout=HANG).content]
                while contents[-1] != "unread":
                    contents.append(again.receive(timeout=HANG).content)

    def test_the_options_are_checked(self):
        with self.assertRaisesRegex(ipcm.UsageError, "needs the name"):
            ipcm.connect_sync(reconnect=True)
        with ipcm.connect_sync(name="me") as bus:
            for bad in (0, -1, float("nan"), float("inf"), 1e300):
                with self.assertRaisesRegex(ipcm.UsageError, "seconds"):
                    bus.suspend(expires=bad)
            self.assertEqual(bus.peers(), [])


if __name__ == "__main__":
    unittest.main()
