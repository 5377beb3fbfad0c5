"""The place of a member on a bus: names, locks, files, and directories that are no bus."""

import json
import os
import select
import signal
import tempfile
import unittest

import ipcm
from ipcm import locks, presence
from on_a_bus import HANG, KIT, OnABus


class Place(OnABus):
    def test_a_named_connection_is_listed_as_ours_and_leaves_nothing(self):
        with ipcm.connect_sync(name="me"):
            self.assertEqual(self.files(), [".me.lock", "me", "me.pid"])
            row = json.loads(self.ipcm("ps", "--json"))[0]
            self.assertEqual((row["name"], row["pid"], row["state"]), ("me", os.getpid(), "active"))
        self.assertEqual(self.files(), [])

    def test_an_unnamed_connection_leaves_no_trace(self):
        with ipcm.connect_sync() as bus:
            self.assertEqual(self.files(), [])
            self.assertEqual(bus.peers(), [])

    def test_a_name_in_use_is_refused_also_in_the_same_process_and_keeps_its_lock(self):
        with ipcm.connect_sync(name="me"):
            for _ in range(2):
                with self.assertRaises(ipcm.NameTaken) as caught:
                    ipcm.connect_sync(name="me")
                self.assertEqual((caught.exception.name, caught.exception.pid), ("me", os.getpid()))
            text = self.run_program("""
                import ipcm
                try:
                    ipcm.connect_sync(name="me")
                except ipcm.NameTaken as error:
                    print(error.pid)
            """)
            self.assertEqual(int(text), os.getpid())

    def test_listing_does_not_drop_the_own_lock(self):
        with ipcm.connect_sync(name="me") as bus, ipcm.connect_sync(name="other") as other:
            self.assertEqual(bus.peers(), ["other"])
            self.assertEqual(other.peers(), ["me"])
            self.assertEqual(len(json.loads(self.ipcm("ps", "--json"))), 2)

    def test_a_killed_peer_leaves_nothing_once_a_peer_of_the_kit_has_looked(self):
        self.run_program("""
            import ipcm, subprocess, sys
            child = subprocess.Popen([sys.executable, "-S", "-c", "import sys; sys.path.insert(0, %r); import ipcm; "
                                      "bus = ipcm.connect_sync(name='dead'); print(1, flush=True); sys.stdin.read()"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            child.stdout.readline()
            child.kill()
            child.wait()
        """ % KIT)
        self.assertIn("dead", self.files())
        with ipcm.connect_sync() as bus:
            self.assertEqual(bus.peers(), [])
        self.assertEqual(self.files(), [])

    def test_a_name_that_is_no_file_name_and_a_long_route(self):
        with ipcm.connect_sync(name="a/b ü") as bus, ipcm.connect_sync() as other:
            other.send("a/b ü", "hi")
            self.assertEqual(bus.receive(timeout=HANG).content, "hi")
            self.assertEqual(other.peers(), ["a/b ü"])
        place = tempfile.TemporaryDirectory(prefix="ipcm-kit-")
        self.addCleanup(place.cleanup)
        route = os.path.join(place.name, "x" * 120)
        os.mkdir(route, 0o700)
        info = ["ConnectionUnix", "JSON", route]
        with ipcm.connect_sync(info, name="far") as bus, ipcm.connect_sync(info) as other:
            other.send("far", 1)
            self.assertEqual(bus.receive(timeout=HANG).content, 1)

    def test_directories_that_are_no_bus_are_refused(self):
        place = tempfile.TemporaryDirectory(prefix="ipcm-kit-")
        self.addCleanup(place.cleanup)
        os.chmod(place.name, 0o777)
        with self.assertRaisesRegex(ipcm.BusError, "0700"):
            ipcm.connect_sync(["ConnectionUnix", "JSON", place.name])
        os.chmod(place.name, 0o700)
        with open(os.path.join(place.name, "letter.txt"), "w") as file:
            file.write("x")
        with self.assertRaisesRegex(ipcm.BusError, "letter.txt"):
            ipcm.connect_sync(["ConnectionUnix", "JSON", place.name])
        with self.assertRaisesRegex(ipcm.BusError, "no bus"):
            ipcm.connect_sync(["ConnectionUnix", "JSON", "/nowhere"])

    def test_the_removal_of_the_bus_ends_a_connection(self):
        bus = ipcm.connect_sync(name="me")
        for file in os.listdir(self.route):
            if file.startswith(".me") or file.startswith("me"):
                os.unlink(os.path.join(self.route, file))
        with self.assertRaisesRegex(ipcm.BusError, "its place on the bus is gone"):
            bus.receive(timeout=HANG)
        with self.assertRaises(ipcm.BusError):
            bus.send("x", 1)

    def test_a_listing_that_finds_a_dead_service_keeps_its_obituary_and_a_new_service_of_the_name_removes_it(self):
        self.ipcm("start", "echo", "--name", "e")
        pid = json.loads(self.ipcm("ps", "--json"))[0]["pid"]
        with open(os.path.join(self.route, ".e.log"), "a", encoding="utf-8") as log:
            log.write("no paper left\n")
        process = os.pidfd_open(pid)
        self.addCleanup(os.close, process)
        signal.pidfd_send_signal(process, signal.SIGKILL)
        self.assertTrue(select.select([process], [], [], HANG)[0])
        with ipcm.connect_sync() as bus:
            self.assertEqual(bus.peers(), [])
        self.assertEqual(self.files(), [".e.log", ".e.obituary", ".e.params"])
        self.assertEqual(os.stat(os.path.join(self.route, ".e.obituary")).st_mode & 0o777, 0o600)
        (dead,) = json.loads(self.ipcm("ps", "--all", "--json"))
        self.assertEqual((dead["name"], dead["class"], dead["pid"], dead["state"], dead["how"]), ("e", "echo", pid, "dead", "status unknown"))
        self.assertEqual(dead["last_words"], "no paper left")
        route = presence.Route(self.route)
        self.addCleanup(route.close)
        place = route.claim("e", "Class")
        self.assertNotIn(".e.obituary", self.files())
        place.vacate(None)

    def test_a_lock_is_seen_with_its_holder_and_its_note(self):
        with ipcm.connect_sync(name="me"):
            text = self.run_program(f"""
                import os
                from ipcm import locks
                print(*locks.look(os.open({self.route!r}, os.O_RDONLY), ".me.lock"))
            """).split()
            self.assertEqual(text[:5], ["True", "True", "False", str(os.getpid()), "False"])
        directory = os.open(self.route, os.O_RDONLY)
        self.addCleanup(os.close, directory)
        held = locks.acquire(directory, ".x.lock", "a note")
        self.assertEqual(locks.acquire(directory, ".x.lock", "another"), os.getpid())
        held.release(directory)
        self.assertFalse(os.path.exists(os.path.join(self.route, ".x.lock")))


if __name__ == "__main__":
    unittest.main()
