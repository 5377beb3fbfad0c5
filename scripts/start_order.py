#!/usr/bin/env python3
"""Writes boot/start_order.ld anew: what a service touches, in the order in which it does. Usage: start_order.py BUILD
BUILD is optimised, without unity, and has boot/ipcm-boot and launcher/ipcm.

A program is mapped in pieces of 64 KiB around each place that is touched: what lies together costs fewer of
them. Runs the built boot binary under valgrind (`lackey` tells each address), with the lines that a launcher gives
it: it starts, answers requests and ends, with its parameters on the command line and out of a pipe; and it fails to
start. The linker's map says which section of which object an address belongs to. Worth it when the start has changed
much; a line that matches nothing any more does no harm.
"""
import bisect
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
TARGET = 'boot/ipcm-boot'
REQUESTS = ['{"n":1}', '{"text":"some words","list":[1,2.5,null,true]}']

# Where each kind's pieces go. Not before .rodata: there the code's segment ends, and they would be executable.
PLACES = {'.text': 'BEFORE', '.rodata': 'AFTER', '.bss': 'BEFORE'}
# The linker merges strings and constants of many functions, so the map does not tell which are touched: all come along.
MERGED = re.compile(r'\.(str\d|cst\d)')
ALL_MERGED = '*(.rodata.str* .rodata.*.str* .rodata.cst*)'
# memmove-avx512-unaligned-erms.o; not those for transactions, or for who wants no such registers touched
VARIANT = re.compile(r'libc\.a\((\w+)-(?:avx2|avx|evex|avx512)(?!.*(?:rtm|no-vzeroupper))[\w-]*\.o\)$')
LARGEST = 64 * 1024  # a table that is used in one place is left where it is
HEAD = '''\
/* What a start touches, in the order in which it does; written by scripts/start_order.py. An addition to the
   linker's own script: what is named here comes first, and all else after it. */
'''


def input_sections(map_file):
    """(address, size, section, file), sorted; out of a map of the GNU linker."""
    found, name = [], None  # `name`: one so long that it had a line to itself
    for line in map_file.read_text(encoding='utf-8', errors='replace').splitlines():
        match = re.match(r'^ (?P<name>\.\S+|COMMON)?\s+0x(?P<at>[0-9a-f]+)\s+0x(?P<size>[0-9a-f]+) (?P<file>\S.*)$', line)
        if match and (match['name'] or name):
            at, size = int(match['at'], 16), int(match['size'], 16)
            if at and size:
                found.append((at, size, match['name'] or name, match['file']))
        alone = re.match(r'^ (\.\S+)$', line)
        name = alone[1] if alone else None
    return sorted(section for section in found if not section[2].startswith('.debug'))


def trace(boot, log, arguments, through_pipe='', meanwhile=None):
    """All addresses that it touches, in order."""
    leash, words = os.pidfd_open(os.getpid()), os.open('/dev/null', os.O_WRONLY)
    its_end, our_end = os.pipe()
    os.write(our_end, through_pipe.encode())
    os.close(our_end)
    if through_pipe:
        arguments = [*arguments, '--params-fd', str(its_end)]
    environment = {**os.environ, 'IPCM_LEASH_FD': str(leash), 'IPCM_STDERR_FD': str(words), 'IPCM_PARAMS_WHOLE': '1'}
    command = ['valgrind', '--tool=lackey', '--trace-mem=yes', f'--log-file={log}', boot, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
                          pass_fds=[leash, words, its_end]) as process:
        for fd in (leash, words, its_end):
            os.close(fd)
        if meanwhile:
            ready = json.loads(process.stdout.readline())
            try:
                meanwhile()
            finally:
                os.kill(ready['pid'], signal.SIGTERM)  # otherwise a failure would wait for it for ever
        process.stdout.read()
    with open(log, encoding='utf-8') as lines:
        return [int(line[3:].split(',')[0], 16) for line in lines if re.match(r'^[I ][ LSM] ', line)]


def touched(sections, addresses):
    starts = [section[0] for section in sections]
    for address in dict.fromkeys(addresses):
        at = bisect.bisect_right(starts, address) - 1
        if at >= 0 and address < sections[at][0] + sections[at][1]:
            yield sections[at]


def with_variants(sections, some):
    """The C library has its string functions for several kinds of processors, and valgrind is one of them."""
    others = {}
    for section in sections:
        if match := VARIANT.search(section[3]):
            others.setdefault(match[1], []).append(section)
    for section in some:
        yield section
        if match := VARIANT.search(section[3]):
            yield from others[match[1]]


def pattern(section):
    """How a linker script names it: by a function's name, or by the member of an archive."""
    _, _, name, file = section
    member = re.search(r'([^/]+\.a)\(([^)]+)\)$', file)
    if re.match(r'\.\w+(\.rel\.\w+)*(\.\w+)?\._Z', name):
        return f'*({name})'
    return f'*{member[1]}:{member[2]}({name})' if member else None


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        boot, map_file, log = (pathlib.Path(folder) / name for name in ('ipcm-boot', 'map', 'log'))
        commands = subprocess.run(['ninja', '-C', build, '-t', 'commands', TARGET], check=True, capture_output=True, text=True)
        link = shlex.split(commands.stdout.splitlines()[-1])
        link[link.index(TARGET)] = str(boot)
        subprocess.run([*link, f'-Wl,-Map={map_file}'], check=True, cwd=build)
        bus = pathlib.Path(folder) / 'bus'
        bus.mkdir(mode=0o700)
        parameters = {'ipcm': 1, 'name': 'e', 'class': 'echo', 'ipcm_info': ['ConnectionUnix', 'JSON', str(bus)],
                      'watch_pids': [os.getpid()]}
        info = json.dumps(parameters['ipcm_info'])

        def ask():
            # Until it is older than a second: with the first event after that it looks whether its place is still there.
            begin = time.monotonic()
            while True:
                subprocess.run([build / 'launcher/ipcm', '--bus', info, 'request', 'e', *REQUESTS], check=True, stdout=subprocess.DEVNULL)
                if time.monotonic() > begin + 1.5:
                    break
        text = json.dumps(parameters)
        addresses = trace(boot, log, ['--ready-fd', '1', text], meanwhile=ask)
        addresses += trace(boot, log, ['--ready-fd', '1'], through_pipe=text, meanwhile=ask)
        addresses += trace(boot, log, [json.dumps({**parameters, 'class': 'no such class'})])
        sections = input_sections(map_file)
    patterns = {kind: {} for kind in PLACES}  # in order, each once
    for section in with_variants(sections, touched(sections, addresses)):
        kind = re.match(r'\.[a-z]+', section[2])[0]
        line = pattern(section)
        if kind in PLACES and line and section[1] < LARGEST and not MERGED.search(section[2]):
            patterns[kind][line] = True
    patterns['.rodata'][ALL_MERGED] = True
    with open(TOP / 'boot/start_order.ld', 'w', encoding='utf-8') as script:
        script.write(HEAD)
        for kind, place in PLACES.items():
            script.write('SECTIONS\n{\n  %s.start :\n  {\n' % kind)
            script.writelines(f'    {line}\n' for line in patterns[kind])
            script.write('  }\n}\nINSERT %s %s;\n' % (place, kind))


main()
