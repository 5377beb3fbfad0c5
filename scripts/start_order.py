#!/usr/bin/env python3
"""Writes boot/start_order.ld: the sections that a service touches, in that order. Usage: start_order.py BUILD
BUILD is an optimised build without unity that has boot/ipcm-boot and launcher/ipcm.

The kernel maps a program in pieces of 64 KiB around each touched address. If the touched sections are adjacent, fewer pieces
are mapped. The script runs the boot binary under valgrind (`lackey` reports each address) with the command lines that a
launcher uses. The boot starts, answers requests and ends, with its parameters on the command line and from a pipe; and it
fails to start. The map of the linker names the section and the object of each address. Run the script when the start has
changed much. A line of the file that matches no section has no effect.
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

# The place for the sections of each kind. Not before .rodata: there the segment of the code ends, and the data would be executable.
PLACES = {'.text': 'BEFORE', '.rodata': 'AFTER', '.bss': 'BEFORE'}
# The linker merges strings and constants of many functions, so the map does not show which are touched. All of them are included.
MERGED = re.compile(r'\.(str\d|cst\d)')
ALL_MERGED = '*(.rodata.str* .rodata.*.str* .rodata.cst*)'
# Such as memmove-avx512-unaligned-erms.o; not the variants for transactions (rtm) and those without vzeroupper.
VARIANT = re.compile(r'libc\.a\((\w+)-(?:avx2|avx|evex|avx512)(?!.*(?:rtm|no-vzeroupper))[\w-]*\.o\)$')
LARGEST = 64 * 1024  # larger sections, such as a table that is used in one place, are not moved
HEAD = '''\
/* The sections that a start touches, in that order; written by scripts/start_order.py. An addition to the
   linker's own script: the sections named here come first, and all others after them. */
'''


def input_sections(map_file):
    """Returns (address, size, section, file) of all sections in a map of the GNU linker, sorted."""
    found, name = [], None  # `name`: a long name that has its own line in the map
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
    """Runs the boot binary and returns all addresses that it touches, in order."""
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
                os.kill(ready['pid'], signal.SIGTERM)  # otherwise the script would wait forever after a failure
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
    """Yields the sections `some`, and for each string function of the C library also its variants for other processors than valgrind's."""
    others = {}
    for section in sections:
        if match := VARIANT.search(section[3]):
            others.setdefault(match[1], []).append(section)
    for section in some:
        yield section
        if match := VARIANT.search(section[3]):
            yield from others[match[1]]


def pattern(section):
    """Returns the pattern of a section in a linker script: the name of a function, or the member of an archive."""
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
            # Until the service is older than a second: its first event after that makes it check that its files still exist.
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
    patterns = {kind: {} for kind in PLACES}  # in the order of the first access
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
