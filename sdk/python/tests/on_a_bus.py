"""What the tests of the kit have in common: a bus of their own, and programs with the kit on their path."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

HANG = 30 * int(os.environ.get("IPCM_TEST_PATIENCE", "1"))  # seconds; only ends a hang
COMMAND = os.environ["IPCM_TEST_IPCM"]
KIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def asynchronous(test):
    """Runs a test that is a coroutine."""
    return lambda self: asyncio.run(asyncio.wait_for(test(self), HANG))


class OnABus(unittest.TestCase):
    PROTOCOL = "ConnectionUnix"

    def setUp(self):
        os.environ["IPCM_BOOT"], os.environ["IPCM"] = os.environ["IPCM_TEST_BOOT"], COMMAND
        self.info = json.dumps(json.loads(self.ipcm("bus", "new", "--protocol", self.PROTOCOL, "--json"))["info"])
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
