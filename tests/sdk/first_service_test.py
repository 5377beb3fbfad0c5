"""docs/first-service/*.md are correct: each document is followed line by line, in one shell.

A block ```LANGUAGE file=NAME is written to that file; in a ```console block, each line that begins with `$ ` is a command,
and the lines below it are what it prints. A document is skipped if its language (PROGRAMS) is not installed."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
HANG = 60 * int(os.environ.get("IPCM_TEST_PATIENCE", "1"))  # seconds; only ends a hang
PROGRAMS = {"python": "python3", "node": "node", "perl": "perl", "bash": "bash"}


def blocks_of(text):
    """Returns (language, file or None, content) of each fenced block."""
    return re.findall(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands_of(block):
    """Returns (command, lines that it prints) of a console block."""
    commands = []
    for line in block.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    return commands


class Shell:
    """A shell that runs one command after the other, and keeps its variables."""

    def __init__(self, place):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("IPCM_") or name == "IPCM_DRIVERS"}
        ipcm, boot = os.environ["IPCM_TEST_IPCM"], os.environ["IPCM_TEST_BOOT"]
        own = os.path.join(place, "bin")
        os.mkdir(own)
        os.symlink(sys.executable, os.path.join(own, "python3"))
        os.mkdir(os.path.join(place, "run"), 0o700)
        os.mkdir(os.path.join(place, "node_modules"))
        os.symlink(TOP / "sdk/node", os.path.join(place, "node_modules/ipcm"))  # as `npm install` does
        environment.update(
            PATH=os.pathsep.join((own, os.path.dirname(ipcm), os.path.dirname(boot), str(TOP / "sdk/bash"), environment.get("PATH", ""))), PYTHONDONTWRITEBYTECODE="1",
            PYTHONPATH=str(TOP / "sdk/python"), PERL5LIB=os.pathsep.join(filter(None, (str(TOP / "sdk/perl/lib"), environment.get("PERL5LIB")))),
            XDG_RUNTIME_DIR=os.path.join(place, "run"), TMPDIR=os.path.join(place, "run"))
        self._process = subprocess.Popen(["bash", "--norc", "--noprofile"], cwd=place, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, text=True)

    def run(self, command):
        """Returns the lines that the command prints, and its status."""
        self._process.stdin.write(f"{command}\nprintf '\\n=== %s\\n' $?\n")
        self._process.stdin.flush()
        lines = []
        for line in self._process.stdout:
            if line.startswith("=== "):
                lines = lines[:-1] if lines and not lines[-1] else lines
                return lines, int(line[4:])
            lines.append(line.rstrip("\n"))
        raise AssertionError(f"the shell ended: {lines}")

    def close(self):
        self.run("[ -z \"$IPCM_INFO\" ] || ipcm bus rm 2>&1")
        self._process.stdin.close()
        self._process.wait(HANG)
        self._process.stdout.close()


class FirstService(unittest.TestCase):
    def follow(self, document):
        with tempfile.TemporaryDirectory(prefix="ipcm-first-") as place:
            shell = Shell(place)
            try:
                count = 0
                for language, file, content in blocks_of(document.read_text(encoding="utf-8")):
                    if file:
                        (pathlib.Path(place) / file).write_text(content, encoding="utf-8")
                    elif language == "console":
                        for command, expected in commands_of(content):
                            found, status = shell.run(command)
                            self.assertEqual(found, expected, f"$ {command} (status {status})")
                            count += 1
                self.assertGreaterEqual(count, 3, "the document has no commands")
            finally:
                shell.close()

    def test_each_document_does_what_it_says(self):
        documents = sorted((TOP / "docs/first-service").glob("*.md"))
        self.assertTrue(documents)
        wanted = os.environ.get("IPCM_TEST_LANGUAGE")
        for document in documents:
            program = PROGRAMS.get(document.stem)
            if (wanted and document.stem != wanted) or (program and not shutil.which(program)):
                continue
            with self.subTest(document.name):
                self.follow(document)

    def test_a_wrong_line_is_found(self):
        with tempfile.TemporaryDirectory(prefix="ipcm-first-") as place:
            document = pathlib.Path(place) / "wrong.md"
            document.write_text("```console\n$ echo 1\n1\n$ echo 2\n3\n$ echo 4\n4\n```\n", encoding="utf-8")
            with self.assertRaises(AssertionError):
                self.follow(document)


if __name__ == "__main__":
    unittest.main()
