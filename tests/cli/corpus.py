"""Many JSON documents, from data of this machine: the same ones in the same order on every run.

`python3 corpus.py | ipcm run echo` runs a load by hand."""

import glob
import json
import os
import random
import sys
import unicodedata

LEAST = 10000
STATUS = "/var/lib/dpkg/status"


def packages():
    """The package list of dpkg, an object for each package."""
    if not os.path.exists(STATUS):
        return
    package, key = {}, None
    with open(STATUS, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line == "\n":
                yield package
                package, key = {}, None
            elif line.startswith((" ", "\t")) and key:
                package[key] += "\n" + line.strip()
            elif ":" in line:
                key, value = line.rstrip("\n").split(":", 1)
                package[key] = int(value) if value.strip().isdigit() else value.strip()
    if package:
        yield package


def dependencies():
    """The dependencies of the packages as trees: alternatives in lists in objects."""
    for package in packages():
        if "Depends" in package:
            groups = [[word.strip() for word in group.split("|")] for group in str(package["Depends"]).split(",")]
            yield {str(package.get("Package")): {"depends": groups, "count": len(groups), "essential": package.get("Essential") == "yes"}}


def services():
    if not os.path.exists("/etc/services"):
        return
    with open("/etc/services", encoding="utf-8", errors="replace") as file:
        for line in file:
            yield line.rstrip("\n")  # tabs and all
            words = line.split("#")[0].split()
            if len(words) >= 2 and "/" in words[1]:
                port, protocol = words[1].split("/")
                yield {"name": words[0], "port": int(port), "protocol": protocol, "aliases": words[2:]}


def documentation():
    """Lines of licences and readmes, and the beginning of each file as one text."""
    for path in sorted(glob.glob("/usr/share/doc/*/copyright"))[:150]:
        with open(path, "rb") as file:
            text = file.read(40000).decode("utf-8", errors="replace")
        yield {"path": path, "text": text}
        for line in text.splitlines()[:12]:
            yield line


def characters():
    """Each of the first 0x700 characters of Unicode and about every hundredth other one, with its properties; no surrogates."""
    for code in list(range(0x700)) + list(range(0x700, 0x110000, 101)):
        if 0xD800 <= code <= 0xDFFF:
            continue
        character = chr(code)
        yield {"code": code, "character": character, "name": unicodedata.name(character, None),
               "category": unicodedata.category(character), "numeric": unicodedata.numeric(character, None),
               character: [character * 3, unicodedata.mirrored(character) == 1]}


def numbers():
    for power in range(0, 64):
        yield from (2**power - 1, 2**power, -(2**power) + 1, {"power": power, "value": 2**power})
    yield from (2**64 - 1, -(2**63), 0, -1, 0.0, -0.5, 1e20, 1e-20, 1.7976931348623157e308, 5e-324, 2.2250738585072014e-308)
    chance = random.Random(4711)
    for _ in range(600):
        yield chance.uniform(-1, 1) * 10.0 ** chance.randint(-300, 300)
    for _ in range(300):
        yield [chance.getrandbits(chance.randint(1, 63)) * chance.choice((1, -1)) for _ in range(chance.randint(0, 20))]


def protocol_words():
    """Values with a meaning for the bus, in places where they have none."""
    for key in ("terminate", "hello", "ipcm_request_id", "ipcm_response_id", "ipcm_error", "request", "response", "content",
                "from", "to", "broadcast", "id", "stamp", "stamp_ord", ""):
        for value in (1, 0, "", "0", "yes", None, True, False, {}, [], {key: {key: 1}}):
            yield {key: value}
    yield from (None, True, False, "", "0", 0, [], {}, [[]], [{}], [None], {"": {"": {"": ""}}}, "\u2028\u2029", "\x7f", "\x00", '"\\/\b\f\n\r\t')


def nested():
    for depth in range(1, 120):
        value = depth
        for level in range(depth):
            value = [value, level] if level % 2 else {"level": level, "in": value}
        yield value
    chance = random.Random(815)

    def tree(size):
        kind = chance.randrange(7) if size > 0 else chance.randrange(5)
        if kind == 0:
            return chance.randint(-10**12, 10**12)
        if kind == 1:
            return chance.random()
        if kind == 2:
            return chance.choice((None, True, False))
        if kind in (3, 4):
            return "".join(chr(chance.choice((chance.randint(1, 0x7F), chance.randint(0xA0, 0xD7FF), chance.randint(0x10000, 0x10FFFF))))
                           for _ in range(chance.randint(0, 30)))
        if kind == 5:
            return [tree(size - 1) for _ in range(chance.randint(0, 6))]
        return {f"k{index}": tree(size - 1) for index in range(chance.randint(0, 6))}

    for _ in range(1500):
        yield tree(5)


def long_strings():
    for power in range(8, 21):
        for beside in (-1, 0, 1):
            yield "x" * (2**power + beside)
    yield "ä€😀" * 20000
    yield {"lines": ["\n" * 1000] * 50}


def documents():
    for source in (packages, dependencies, services, documentation, characters, numbers, protocol_words, nested, long_strings):
        yield from source()


def lines():
    """The documents, one on each line; by turns in ASCII, in UTF-8, and with blanks between the tokens."""
    for index, document in enumerate(documents()):
        if index % 3 == 0:
            yield json.dumps(document, separators=(",", ":"))
        elif index % 3 == 1:
            yield json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        else:
            yield json.dumps(document)


if __name__ == "__main__":
    for text in lines():
        sys.stdout.buffer.write(text.encode("utf-8") + b"\n")
