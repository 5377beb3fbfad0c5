"""The kit on a real bus: places and locks, both faces, bad peers, starts, forks, threads.

The behaviours that all kits share are tested by tests/sdk."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
import unittest.mock

import ipcm
from ipcm import locks
from ipcm.frames import frame

HANG = 30 * int(os.environ.get("IPCM_TEST_PATIENCE", "1"))  # seconds; only ends a hang
COMMAND = os.environ["IPCM_TEST_IPCM"]
KIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def asynchronous(test):
    return lambda self: asyncio.run(asyncio.wait_for(test(self), HANG))


class OnABus(unittest.TestCase):
    def setUp(self):
        os.environ["IPCM_BOOT"] = os.environ["IPCM_TEST_BOOT"]
        self.info = json.dumps(json.loads(self.ipcm("bus", "new", "--json"))["info"])
        self.route = json.loads(self.info)[2]
        os.environ["IPCM_INFO"] = self.info
        self.addCleanup(self.remove)

    def remove(self):
        os.environ.pop("IPCM_INFO", None)
        self.ipcm("bus", "rm", self.info)

    def ipcm(self, *words, check=True):
        return subprocess.run([COMMAND, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=check, text=True,
                              timeout=HANG).stdout

    def files(self):
        return sorted(name for name in os.listdir(self.route) if name not in (".info", ".owner") and not name.endswith(".stats"))

    def program(self, text):
        """Returns the path of a Python program with that text."""
        place = tempfile.TemporaryDirectory(prefix="ipcm-kit-")
        self.addCleanup(place.cleanup)
        path = os.path.join(place.name, "program.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"import sys\nsys.path.insert(0, {KIT!r})\nsys.dont_write_bytecode = True\n" + textwrap.dedent(text))
        return [sys.executable, "-S", path]

    def run_program(self, text):
        return subprocess.run(self.program(text), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True, timeout=HANG).stdout


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


class Processes(OnABus):
    def test_a_forked_child_has_closed_copies_and_the_parent_keeps_its_place(self):
        with ipcm.connect_sync(name="me") as bus:
            ready, told = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    with self.assertRaises(ipcm.BusError):
                        bus.peers()
                    bus.close()
                    with ipcm.connect_sync(name="child") as own:
                        self.assertEqual(own.peers(), ["me"])
                    os.write(told, b"ok")
                finally:
                    os._exit(0)
            os.close(told)
            self.assertEqual(os.read(ready, 10), b"ok")
            os.close(ready)
            os.waitpid(child, 0)
            self.assertEqual([row["name"] for row in json.loads(self.ipcm("ps", "--json"))], ["me"])
            self.ipcm("send", "me", '"still here"')
            self.assertEqual(bus.receive(timeout=HANG).content, "still here")

    def test_start_gives_the_reason_of_a_failure_and_leaves_no_process(self):
        failing = self.program("""
            from ipcm import serve
            @serve.start
            def start():
                raise OSError("no database here")
            serve.main()
        """)
        with self.assertRaisesRegex(ipcm.LaunchError, "no database here") as caught:
            ipcm.start_sync("x", boot=failing, timeout=HANG)
        self.assertEqual(caught.exception.status, 70)
        with self.assertRaisesRegex(ipcm.LaunchError, "exited with status 3.*its last words: sorry"):
            ipcm.start_sync("x", boot=self.program("print('sorry', file=sys.stderr); sys.exit(3)"), timeout=HANG)
        with self.assertRaises(ipcm.LaunchError) as caught:
            ipcm.start_sync("x", boot=self.program("import time; time.sleep(1000)"), timeout=0.5)
        self.assertTrue(caught.exception.timed_out)
        with self.assertRaisesRegex(ipcm.LaunchError, "no program"):
            ipcm.start_sync("x", boot="/nowhere")
        with self.assertRaises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def test_plain_functions_run_on_threads_and_call_the_bus(self):
        boot = self.program("""
            import threading
            from ipcm import serve
            @serve.request
            def handle(request):
                assert threading.current_thread() is not threading.main_thread()
                return serve.call(serve.bus.request("echo", request.content))
            serve.main()
        """)
        with ipcm.start_sync("echo", timeout=HANG), ipcm.start_sync("x", boot=boot, timeout=HANG) as service:
            self.assertEqual(list(service.bus.requests("x", range(50), jobs=50, timeout=HANG)), list(range(50)))

    def test_the_concurrency_of_a_service_is_bounded_and_nothing_is_lost(self):
        boot = self.program("""
            import asyncio
            from ipcm import Service
            service = Service(concurrency=4)
            running = most = 0
            @service.request
            async def handle(request):
                global running, most
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                running -= 1
                return most
            service.main()
        """)
        with ipcm.start_sync("x", boot=boot, timeout=HANG) as service:
            self.assertLessEqual(max(service.bus.requests("x", range(5000), jobs=5000, timeout=HANG)), 4)

    def test_a_service_ends_with_its_starter_even_if_a_handler_hangs_on_a_thread(self):
        boot = self.program("""
            import time
            from ipcm import Service
            service = Service(grace=0.1)
            @service.request
            def handle(request):
                time.sleep(1000)
            service.main()
        """)
        with ipcm.start_sync("x", boot=boot, timeout=HANG) as service:
            process = os.pidfd_open(service.pid)
            self.addCleanup(os.close, process)
            with self.assertRaises(ipcm.Timeout):
                service.request(1, timeout=0.2)
            self.assertEqual(service.stop(), 0)

    def test_answers_that_are_no_json_are_errors(self):
        boot = self.program("""
            from ipcm import native, serve
            native.LARGEST = 100_000
            @serve.request
            async def handle(request):
                return {1, 2} if request.content else "x" * 100_000
            serve.main()
        """)
        with ipcm.start_sync("x", boot=boot, timeout=HANG) as service:
            with self.assertRaisesRegex(ipcm.RemoteError, "can't be sent as JSON"):
                service.request(True, timeout=HANG)
            with self.assertRaisesRegex(ipcm.RemoteError, "the limit is"):
                service.request(False, timeout=HANG)

    def test_the_text_of_errors_is_hidden_if_the_launcher_says_so(self):
        boot = self.program("""
            from ipcm import serve
            @serve.request
            async def handle(request):
                raise ValueError("a secret")
            serve.main()
        """)
        params = json.dumps({"ipcm": 1, "name": "x", "class": "x", "ipcm_info": json.loads(self.info), "expose_error_details": False})
        ready, its_ready = os.pipe()
        process = subprocess.Popen([*boot, f"--ready-fd={its_ready}", params], pass_fds=[its_ready], stderr=subprocess.DEVNULL)
        os.close(its_ready)
        with open(ready) as pipe:
            self.assertIn("true", pipe.read())
        with ipcm.connect_sync() as bus:
            with self.assertRaisesRegex(ipcm.RemoteError, "^Internal service error$"):
                bus.request("x", 1, timeout=HANG)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(HANG), 0)

    def test_the_last_service_removes_a_bus_whose_owner_was_killed(self):
        place = tempfile.TemporaryDirectory(prefix="ipcm-kit-")
        self.addCleanup(place.cleanup)
        path = os.path.join(place.name, "s.py")
        boot = self.program("from ipcm import serve\nserve.main()\n")
        with open(path, "w") as file:
            file.write(f"#!{sys.executable} -S\n" + open(boot[2]).read())
        os.chmod(path, 0o755)
        environment = {key: value for key, value in os.environ.items() if key != "IPCM_INFO"}
        session = subprocess.Popen([COMMAND, "session", "--", "sh", "-c", f'"{COMMAND}" start s --boot {path} && echo "$IPCM_INFO" && cat'],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
        self.assertEqual(session.stdout.readline(), "s\n")
        info = session.stdout.readline().strip()
        route = json.loads(info)[2]
        with open(os.path.join(route, "s.pid")) as file:
            service = os.pidfd_open(int(file.read()))
        self.addCleanup(os.close, service)
        session.kill()
        session.wait()
        self.assertTrue(select.select([service], [], [], HANG)[0])
        session.stdin.close()
        session.stdout.close()
        self.assertFalse(os.path.exists(route))


if __name__ == "__main__":
    unittest.main()
