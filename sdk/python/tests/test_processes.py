"""Starts, forks, threads, and the end of services."""

import json
import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import unittest

import ipcm
from on_a_bus import COMMAND, HANG, OnABus


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

    def test_a_service_tells_its_facts_also_while_a_handler_waits_but_not_secret_parameters(self):
        boot = self.program("""
            import asyncio
            from ipcm import serve
            @serve.request
            async def handle(request):
                if request.content == "wait":
                    await asyncio.Event().wait()
                if request.content == "fail":
                    raise ValueError("no such user")
                return request.content
            serve.main()
        """)
        with ipcm.start_sync("x", args={"word": "Hi"}, boot=boot, timeout=HANG) as service:
            self.assertEqual(service.request("a", timeout=HANG), "a")
            with self.assertRaises(ipcm.RemoteError):
                service.request("fail", timeout=HANG)
            with self.assertRaises(ipcm.Timeout):
                service.request("wait", timeout=0.01)
            facts = json.loads(self.ipcm("inspect", "x", "--json"))
            self.assertEqual(facts["requests"], {"answered": 1, "failed": 1, "open": 1})
            self.assertEqual((facts["pid"], facts["messages"]["waiting"]), (service.pid, 0))
            self.assertEqual(facts["parameters"]["args"], {"word": "Hi"})
            self.assertRegex(facts["last_failure"]["text"], "of 'python-.*' failed: no such user")
            self.assertLess(facts["started"], facts["ready"])
        starter = boot[-1] + ".sh"
        with open(starter, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec {shlex.join(boot)} "$@"\n')
        os.chmod(starter, 0o700)
        self.ipcm("start", "x", "--name", "y", "--secret", "--args", '{"word":"Hi"}', "--boot", starter)
        self.assertIsNone(json.loads(self.ipcm("inspect", "y", "--json"))["parameters"])
        self.ipcm("stop", "y")

    def test_the_bus_keeps_the_status_of_a_service_that_ends_with_a_failure(self):
        boot = self.program("""
            from ipcm import serve
            @serve.request
            def handle(request):
                print("a last word")
                serve.end(request.content)
            @serve.start
            def start():
                if serve.args:
                    raise OSError("no database here")
            serve.main()
        """)
        for status in (3, 0):
            with ipcm.start_sync(f"x{status}", boot=boot, timeout=HANG) as service:
                service.request(status, timeout=HANG)
                self.ipcm("wait", f"x{status}", "--for", "gone")
        with self.assertRaises(ipcm.LaunchError):
            ipcm.start_sync("y", boot=boot, args=1, timeout=HANG)
        dead = {row["name"]: row for row in json.loads(self.ipcm("ps", "-a", "--json"))}
        self.assertEqual(sorted(dead), ["x3", "y"])
        self.assertEqual((dead["x3"]["status"], dead["y"]["status"]), (3, 70))

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
        with open(boot[2]) as program, open(path, "w") as file:
            file.write(f"#!{sys.executable} -S\n" + program.read())
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
