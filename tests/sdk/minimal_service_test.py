"""The smallest service of docs/boot.md works as it stands there: asked, stopped, killed, and left by its owner."""

import json
import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
HANG = 60 * int(os.environ.get("IPCM_TEST_PATIENCE", "1"))  # seconds; only ends a hang
IPCM = os.environ["IPCM_TEST_IPCM"]


class MinimalService(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="ipcm-minimal-")
        self.addCleanup(place.cleanup)
        text = re.search(r"^## A minimal service$.*?^```python\n(.*?)^```$", (TOP / "docs/boot.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[1]
        self.assertLess(len(text.splitlines()), 60)
        self.boot = os.path.join(place.name, "up.py")
        with open(self.boot, "w", encoding="utf-8") as file:
            file.write(text.replace("#!/usr/bin/env python3", f"#!{sys.executable}", 1))
        os.chmod(self.boot, 0o755)
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("IPCM_")}
        self.info = json.dumps(json.loads(self.ipcm("bus", "new", "--json"))["info"])
        self.environment["IPCM_INFO"] = self.info
        self.addCleanup(lambda: self.ipcm("bus", "rm", self.info))

    def ipcm(self, *words):
        return subprocess.run([IPCM, *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True,
                              timeout=HANG).stdout

    def files(self):
        route = json.loads(self.info)[2]
        return sorted(name for name in os.listdir(route) if not name.startswith((".info", ".owner", ".up.log")))

    def start(self):
        self.assertEqual(self.ipcm("start", "up", "--boot", self.boot, "--timeout", str(HANG)), "up\n")
        row = json.loads(self.ipcm("ps", "--json"))[0]
        self.assertEqual((row["name"], row["class"], row["state"]), ("up", "up", "active"))
        return row["pid"]

    def test_it_answers_and_leaves_nothing_when_it_is_stopped(self):
        self.start()
        self.assertEqual(self.ipcm("request", "up", '"hi"'), '"HI"\n')
        self.ipcm("stop", "up")
        self.assertEqual(self.files(), [])

    def test_its_name_is_free_after_it_was_killed(self):
        for _ in range(2):
            pid = self.start()
            process = os.pidfd_open(pid)
            os.kill(pid, 9)
            self.assertTrue(select.select([process], [], [], HANG)[0])
            os.close(process)

    def test_it_ends_with_the_owner_of_the_bus(self):
        words = f'"{IPCM}" start up --timeout {HANG} --boot {self.boot} && "{IPCM}" ps --json && cat'
        environment = {key: value for key, value in self.environment.items() if key != "IPCM_INFO"}
        with subprocess.Popen([IPCM, "session", "--", "sh", "-c", words], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              start_new_session=True) as session:
            self.assertEqual(session.stdout.readline(), "up\n")
            process = os.pidfd_open(json.loads(session.stdout.readline())[0]["pid"])
            session.kill()
            self.assertTrue(select.select([process], [], [], HANG)[0])
            os.close(process)
        subprocess.run([IPCM, "bus", "gc"], env=environment, stdout=subprocess.DEVNULL, check=True, timeout=HANG)


if __name__ == "__main__":
    unittest.main()
