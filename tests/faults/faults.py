#!/usr/bin/env python3
"""Kills a command of `ipcm` at each system call, and makes each call that can fail do so once; then checks the result.

  faults.py [--every N] [--seconds N] [--jobs N] [--protocol NAME] [WORD…]

Verbs: run, bus-new, start, stop, bus-rm, request. Sides: `launcher` is the command; `boot` is the process that it starts, or for the last
three verbs a service that runs before. Faults: KILL, ENOMEM, EMFILE, ENOSPC, EIO. WORDs restrict the attempts to the named verbs, sides,
faults and system calls; a number chooses the Nth call, as in strace's when=. For example, `faults.py start boot openat 3 EMFILE` repeats
the attempt of the line "start boot openat 3 EMFILE: …" in the list.

Prints a table of the attempts and the list of violations. Exit status: 1 if there is a violation, 77 if this machine allows no tracing. scenes.py has
the rules. Environment: IPCM_TEST_IPCM, IPCM_TEST_BOOT, IPCM_TEST_INJECT (the binaries), IPCM_TEST_SYSCALLS (a file "NUMBER NAME").
"""
import argparse
import collections
import concurrent.futures
import errno
import itertools
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'cli')]

import scenes  # noqa: E402

SIDES = ('launcher', 'boot')
# The calls that can fail in this way, from the manual pages and the kernel (each path look-up can need memory, each disk can be bad).
PATHS = 'openat open newfstatat stat lstat statx access faccessat faccessat2 readlink readlinkat unlink unlinkat rename renameat renameat2 mkdir mkdirat mknod ' \
    'mknodat link linkat symlink symlinkat rmdir chmod fchmodat execve chdir statfs'
FAILS = {
    'ENOMEM': f'{PATHS} mmap brk mprotect clone clone3 fork vfork socket socketpair connect bind listen accept4 sendmsg sendto recvmsg read write pread64 '
              'getdents64 epoll_create1 epoll_ctl eventfd2 timerfd_create signalfd4 pidfd_open inotify_init1 inotify_add_watch memfd_create poll ppoll fcntl '
              'pipe2 fstat ftruncate',
    'EMFILE': 'openat open socket socketpair accept4 pipe2 dup dup3 fcntl epoll_create1 eventfd2 timerfd_create signalfd4 pidfd_open inotify_init1 '
              'memfd_create clone clone3',
    'ENOSPC': 'openat open write pwrite64 mkdir mkdirat mknod mknodat link linkat symlink symlinkat rename renameat renameat2 bind ftruncate fallocate epoll_ctl '
              'inotify_add_watch fsync fdatasync close',
    'EIO': f'{PATHS} read pread64 write pwrite64 getdents64 fstat fsync fdatasync ftruncate close fcntl',
}
FAULTS = ('KILL', *FAILS)


def names_of_calls():
    with open(os.environ['IPCM_TEST_SYSCALLS'], encoding='ascii') as file:
        return {int(number): name for number, name in map(str.split, file)}


def points(verb, side, fault, calls):
    """Returns a point for every call of that side that this fault can hit."""
    fails = FAILS.get(fault, '').split()
    return [scenes.Point(verb, side, fault, name, number, nth) for number, name, times in calls for nth in range(1, times + 1)
            if fault == 'KILL' or name in fails]


def chosen(point, words):
    """Returns whether the words select the point: for each kind of word, none is given, or one that matches."""
    for value, kind in ((point.verb, scenes.SCENES), (point.side, SIDES), (point.fault, FAULTS)):
        said = [word for word in words if word in kind]
        if said and value not in said:
            return False
    rest = [word for word in words if word not in scenes.SCENES and word not in SIDES and word not in FAULTS]
    names, numbers = [word for word in rest if not word.isdigit()], [int(word) for word in rest if word.isdigit()]
    return (not names or point.name in names) and (not numbers or point.nth in numbers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--every', type=int, default=1, help='try only every Nth point')
    parser.add_argument('--seconds', type=float, help='start no attempt after this time')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='the number of attempts at the same time')
    parser.add_argument('--protocol', default='ConnectionUnix')
    parser.add_argument('words', nargs='*', metavar='WORD')
    options = parser.parse_args()
    os.environ['IPCM_PROTOCOL'] = options.protocol
    end = time.monotonic() + (options.seconds or float('inf'))
    if why := scenes.why_no_tracing():
        print(f'skipped: {why}')
        return 77

    names = names_of_calls()
    plan = []
    for verb, side in itertools.product(scenes.SCENES, SIDES):
        if (verb, side) == ('bus-new', 'boot'):
            continue  # `bus new` starts no process
        if not all(not set(options.words) & set(kind) or value in options.words for value, kind in ((verb, scenes.SCENES), (side, SIDES))):
            continue
        calls = [(number, names.get(number, str(number)), times) for number, times in sorted(scenes.count(verb, side).items())]
        plan += [point for fault in FAULTS for point in points(verb, side, fault, calls) if chosen(point, options.words)]
    plan = plan[::options.every]
    if options.seconds:  # a sample of all kinds, the same in each run
        random.Random(1).shuffle(plan)

    tried, violations = collections.Counter(), collections.defaultdict(list)
    missed = collections.Counter()
    with concurrent.futures.ProcessPoolExecutor(options.jobs, initializer=scenes.be_a_worker) as pool:
        for point, struck, wrong in pool.map(scenes.attempt, plan, itertools.repeat(end), chunksize=4):
            if struck is None:
                continue  # no time was left
            place = point.verb, point.side, point.fault
            tried[place] += 1
            missed[place] += not struck
            for one in wrong:
                violations[place].append(f'{point}: {one}')
                print(f'{point}: {one}', flush=True)

    print(f'{"verb":9}{"side":10}' + ''.join(f'{fault:>22}' for fault in FAULTS))
    for verb, side in itertools.product(scenes.SCENES, SIDES):
        cells = [(tried[verb, side, fault], missed[verb, side, fault], len(violations[verb, side, fault])) for fault in FAULTS]
        if any(cell[0] for cell in cells):
            print(f'{verb:9}{side:10}' + ''.join(f'{f"{cell[0]} tried {cell[2]} wrong":>22}' for cell in cells))
    count, wrong = sum(tried.values()), sum(map(len, violations.values()))
    if sum(missed.values()):
        print(f'{sum(missed.values())} of {count} times the call was not made that often')
    if count < len(plan):
        print(f'{len(plan) - count} of {len(plan)} places were not tried: the time was over')
    print(f'{count} tried, {wrong} violations')
    return 1 if wrong else 0


if __name__ == '__main__':
    assert set(FAILS) <= set(dir(errno))
    sys.exit(main())
