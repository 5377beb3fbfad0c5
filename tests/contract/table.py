#!/usr/bin/env python3
"""Runs all tests of behaviours on every protocol, and prints how many passed for each: table.py BUILD_DIRECTORY > table.md

Cells: the number of tests that passed. `r` marks tests in which the protocol refuses an operation that its medium does not support, and says so (A10).
`F` and a number: the tests that failed. `-`: no test of that behaviour runs on that protocol. On LocalMemory these are tests with several processes, on
servers the tests in tests/process, which make buses without a route."""

import collections
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(sys.argv[1])
PROTOCOLS = ["ConnectionUnix", "UnixSocket", "AtomicPipe", "MessageFiles", "JSONFile", "LocalMemory", "SQLite", "PostgreSQL", "MariaDB"]
SERVERS = {"PostgreSQL": "postgresql", "MariaDB": "mariadb"}
REFUSED = re.compile(r"suspend throws and says so|is refused by name")


def programs(protocol):
    yield "tests/contract/contract_bus"
    yield from {"ConnectionUnix": ["tests/contract/contract_connection_unix", "tests/contract/contract_shared_memory"], "UnixSocket": ["tests/contract/contract_unix_socket"],
                "AtomicPipe": ["tests/contract/contract_atomic_pipe"], "MessageFiles": ["tests/contract/contract_message_files"],
                "JSONFile": ["tests/contract/contract_json_file"]}.get(protocol, [])
    if protocol not in SERVERS and protocol != "LocalMemory":
        yield from ("tests/process/process_launch", "tests/process/process_service", "tests/process/process_lifetime")


def run(protocol, program):
    env = dict(os.environ, IPCM_TEST_PROTOCOL=protocol, IPCM_PROTOCOL=protocol, IPCM_DRIVERS=BUILD + "/drivers",
               IPCM_TEST_BOOT=BUILD + "/boot/ipcm-boot", IPCM_TEST_BOOT_DYNAMIC=BUILD + "/boot/ipcm-boot-dynamic",
               IPCM_TEST_IPCM=BUILD + "/launcher/ipcm", IPCM_TEST_CHILDREN=BUILD + "/tests/children")
    command = [os.path.join(BUILD, program), "-r=xml"]
    if protocol in SERVERS:
        command = [sys.executable, os.path.join(HERE, "..", "support", "servers.py"), SERVERS[protocol], *command]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    text = done.stdout.decode(errors="replace")
    document = xml.fromstring(text[text.index("<?xml"):text.rindex("</doctest>") + len("</doctest>")].encode())
    for case in document.iter("TestCase"):
        result = case.find("OverallResultsAsserts")
        if case.get("skipped") != "true" and result is not None:
            yield case.get("name"), result.get("test_case_success") == "true"


def main():
    cells = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0, 0]))
    totals = collections.defaultdict(lambda: [0, 0])
    for protocol in PROTOCOLS:
        for program in programs(protocol):
            for name, passed in run(protocol, program):
                totals[protocol][0 if passed else 1] += 1
                if not passed:
                    print(f"{protocol}: failed: {name}", file=sys.stderr)
                numbers = re.match(r"((?:[A-F]\d+(?:, )?)+):", name)
                for number in numbers.group(1).split(", ") if numbers else []:
                    cell = cells[number][protocol]
                    cell[0 if passed else 2] += 1
                    cell[1] += passed and bool(REFUSED.search(name))
    print("| | " + " | ".join(PROTOCOLS) + " |")
    print("| --- |" + " ---: |" * len(PROTOCOLS))
    for number in sorted(cells, key=lambda one: (one[0], int(one[1:]))):
        row = []
        for protocol in PROTOCOLS:
            passed, refused, failed = cells[number][protocol]
            row.append((f"{passed}{'r' if refused else ''}" if passed else "") + (f" F{failed}" if failed else "") or "-")
        print(f"| {number} | " + " | ".join(row) + " |")
    print("| all tests, passed / failed | " + " | ".join(f"{totals[one][0]} / {totals[one][1]}" for one in PROTOCOLS) + " |")


main()
