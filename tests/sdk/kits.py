"""The kits of the conformance suite. To add one: its peers in `peers/`, and an entry here. README.md tells what peers do."""

import os
import re
import shutil
import subprocess
import sys
from typing import List, Mapping, NamedTuple, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))
ALL = ("ConnectionUnix", "UnixSocket", "AtomicPipe", "MessageFiles", "JSONFile", "SQLite")


class Kit(NamedTuple):
    """`service` and `client` are the commands of its peers (empty: it has none), `protocols` those that it speaks,
    `without` the behaviours that it can't have ("S3", or "S3 on UnixSocket"), each with the reason, `client_without` further ones of its
    client alone, `why_not` why it can't run here ("": it can)."""

    name: str
    service: List[str]
    client: List[str]
    protocols: Tuple[str, ...] = ALL
    without: Mapping[str, str] = {}
    client_without: Mapping[str, str] = {}
    why_not: str = ""


def peer(file: str) -> str:
    return os.path.join(HERE, "peers", file)


def kits() -> List[Kit]:
    cpp = os.environ["IPCM_TEST_SDK_CPP"]
    python = [sys.executable, "-S"]  # without site-packages it starts in half the time, and needs none
    node = shutil.which("node") or "node"
    return [
        Kit("c++", [cpp], [cpp, "--client"]),
        Kit("command", [], [*python, peer("command_client.py")]),
        Kit("perl", ["perl", peer("perl_service.pl")], ["perl", peer("perl_client.pl")], why_not="" if shutil.which("perl") else "perl is not installed"),
        Kit("python", [*python, peer("python_service.py")], [*python, peer("python_client.py")], ALL if has_bridge() else ("ConnectionUnix",)),
        Kit("bash", ["bash", peer("bash_service.bash")], ["bash", peer("bash_client.bash")],
            without={"S4": "Bash copies a text at each step: with 16 MiB, a service does not answer within 30 s, and a client needs 11 s"},
            why_not=why_no_bash()),
        manager(),
        Kit("node", [node, peer("node_service.mjs")], [node, peer("node_client.mjs")], why_not=why_no_node(node)),
    ]


def manager() -> Kit:
    """Returns IPC::Manager itself, with the limits of version 0.000038."""
    datagram = "a datagram of more than 64 KiB can't be sent"
    emptied = "a peer that is killed while it writes the file leaves an empty bus"
    return Kit(
        "IPC::Manager", ["perl", peer("ipc_manager_service.pl")], ["perl", peer("ipc_manager_client.pl")], why_not=why_no_manager(),
        without={
            "S6": "Cpanel::JSON::XS reads the largest double as an infinity, and writes null",
            "S3 on UnixSocket": datagram,
            "S27 on MessageFiles": "a message that comes before the first watch of its mailbox is read with the next one",
            **{f"{number} on JSONFile": emptied for number in ("S12", "S13", "S18", "S29", "S30")}},
        client_without={
            "S11 on MessageFiles": "its error names a directory and not the peer",
            "S13 on UnixSocket": "it stays with the socket of a peer that has died", "S13 on AtomicPipe": "it dies of SIGPIPE when it writes to a dead peer",
            "S12 on SQLite": "it waits for a successor as long as the bus keeps the request"})


def why_no_manager() -> str:
    """Returns why the services and clients of IPC::Manager itself can't run here, or ""."""
    try:
        words = ["perl", "-MIPC::Manager", "-e", "1"]
        found = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    except OSError:
        return "perl is not installed"
    return "" if found == 0 else "no IPC::Manager on PERL5LIB"


def why_no_node(node: str) -> str:
    """Returns why the kit for Node can't run here, or ""."""
    try:
        version = subprocess.run([node, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "node is not installed"
    found = re.match(r"v(\d+)\.", version)
    return "" if found and int(found[1]) >= 18 else f"it needs Node 18 or newer, and node is {version}"


def why_no_bash() -> str:
    """Returns why the kit for Bash can't run here, or ""."""
    try:
        words = ["bash", "-c", "echo $BASH_VERSINFO"]
        version = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "bash is not installed"
    return "" if version.isdigit() and int(version) >= 5 else f"it needs Bash 5 or newer, and bash is {version}"


def has_bridge() -> bool:
    """Returns whether `ipcm` has the verb `bridge`, which kits use on protocols that they do not speak."""
    help_text = subprocess.run([os.environ["IPCM_TEST_IPCM"], "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True).stdout
    return any(line.split()[:1] == ["bridge"] for line in help_text.splitlines())
