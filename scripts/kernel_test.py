#!/usr/bin/env python3
"""Runs the core of the suite on the kernel of Debian 12, emulated: scripts/test --kernel.

  kernel_test.py BUILD [--cases DIR] [--only WORD]… [--minutes N] [--memory MIB]

Boots the kernel of the package linux-image-cloud-amd64 under qemu-system-x86_64, without hardware virtualisation. The root file system is
made by mmdebstrap or debootstrap, and has the build in BUILD, which must come from a Debian 12 machine, because its programs run unchanged.
There it runs unit, contract, process and command line tests, the shell examples of README.md and, with --cases, each DIR/*.sh
(exit status 0: passed; 77: not possible there). --only chooses the tests whose name contains a WORD.

Prints each result and the kernel's release; the last line is 'N passed, N failed'. Exit status 1 if a test failed or the time limit (--minutes, 60)
was reached. Needs root, because the files of the file system have owners, and 3 GB in $TMPDIR, and leaves nothing there.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
KERNEL = 'linux-image-cloud-amd64'
# The packages that the programs of the tree and the tests need; strace is for cases.
PACKAGES = 'python3,strace,procps,libstdc++6,libmd0,libzstd1,libsqlite3-0,libsoci-core4.0,libsoci-sqlite3-4.0'
MODULES = 'virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk'  # in the order of their dependencies
# Left out: tests with servers, which are not installed; and, because the emulation is slow, most protocols of the process tests, and pure computation
# (wire, serializer).
CHOSEN = re.compile(r'handoff|ready|loop|os|random|directory|shared_memory|cli|'
                    r'bus (ConnectionUnix|MessageFiles|JSONFile|LocalMemory|UnixSocket|AtomicPipe)|bytes .*|'
                    r'process (launch|service|lifetime) (ConnectionUnix|MessageFiles)')
PATIENCE = 10  # the factor for the time limits of the tests
FILE_SYSTEM = '2G'

FIRST_INIT = '''#!/busybox sh
/busybox mkdir -p /dev /new && /busybox mount -t devtmpfs none /dev
for module in {modules}; do /busybox insmod /$module.ko || echo "no $module"; done
/busybox mount -t ext4 /dev/vda /new && exec /busybox switch_root /new /guest-init
echo 'the root file system could not be mounted'; /busybox poweroff -f
'''
# The shell is process 1, and reaps orphans.
SECOND_INIT = '''#!/bin/sh
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev; mkdir -p /dev/pts /dev/shm
mount -t devpts none /dev/pts; mount -t tmpfs none /dev/shm; mount -t tmpfs none /run
ln -sf /proc/self/fd /dev/fd; ln -sf fd/0 /dev/stdin; ln -sf fd/1 /dev/stdout; ln -sf fd/2 /dev/stderr
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
cd {top} && setsid python3 scripts/kernel_guest.py /guest.json </dev/null &
wait $!; sync; echo o >/proc/sysrq-trigger; sleep 60
'''


def run(*command, **more):
    return subprocess.run(command, check=True, **more)


def prepare():
    """Installs the packages that are missing on this machine. Exits if this is not Debian 12, or not root."""
    with open('/etc/os-release', encoding='utf-8') as file:
        if 'VERSION_CODENAME=bookworm' not in file.read():
            sys.exit('kernel_test: build on Debian 12: the programs of the build run unchanged on its kernel')
    if os.geteuid() != 0:
        sys.exit('kernel_test: run it as root: the files of the root file system have owners')
    missing = [package for package, program in (('qemu-system-x86', 'qemu-system-x86_64'), ('mmdebstrap', 'mmdebstrap'), ('busybox-static', 'busybox'),
                                                ('e2fsprogs', 'mke2fs')) if not shutil.which(program)]
    if missing == ['mmdebstrap'] and shutil.which('debootstrap'):
        missing = []
    if missing:
        print('== installing:', *missing, flush=True)
        apt = ('apt-get', '-o', 'DPkg::Lock::Timeout=120')
        run(*apt, 'update', '-qq')
        run(*apt, 'install', '-y', '-qq', '--no-install-recommends', *missing, stdout=subprocess.DEVNULL, env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'})


def unpack_kernel(work):
    """Unpacks the kernel and makes an initrd with the modules for the disk. Returns the path of the kernel image."""
    found = subprocess.run(['apt-cache', 'depends', KERNEL], check=True, stdout=subprocess.PIPE, text=True).stdout
    package = re.search(r'Depends: (linux-image-\S+)', found)[1]
    print(f'== unpacking {package}, not installing it', flush=True)
    run('apt-get', 'download', '-qq', package, cwd=work, stderr=subprocess.DEVNULL)
    (deb,) = [name for name in os.listdir(work) if name.endswith('.deb')]
    run('dpkg', '-x', deb, 'kernel', cwd=work)
    os.unlink(os.path.join(work, deb))
    modules = {name.removesuffix('.ko'): os.path.join(at, name) for at, _, names in os.walk(os.path.join(work, 'kernel', 'lib')) for name in names}
    first = os.path.join(work, 'first')
    os.mkdir(first)
    shutil.copy(shutil.which('busybox'), first)
    for name in MODULES.split():
        shutil.copy(modules[name], first)
    write(os.path.join(first, 'init'), FIRST_INIT.format(modules=MODULES), 0o755)
    with open(os.path.join(work, 'initrd'), 'wb') as file:
        run('busybox', 'cpio', '-o', '-H', 'newc', input='\n'.join(['.', *os.listdir(first)]).encode(), cwd=first, stdout=file, stderr=subprocess.DEVNULL)
    boot = os.path.join(work, 'kernel', 'boot')
    return next(os.path.join(boot, name) for name in os.listdir(boot) if name.startswith('vmlinuz'))


def write(path, text, mode=0o644):
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    os.chmod(path, mode)


def make_root(root):
    print(f'== making a root file system: bookworm with {PACKAGES}', flush=True)
    if shutil.which('mmdebstrap'):
        run('mmdebstrap', '--quiet', '--variant=minbase', '--include=' + PACKAGES, 'bookworm', root)
    else:
        run('debootstrap', '--variant=minbase', '--include=' + PACKAGES, 'bookworm', root, stdout=subprocess.DEVNULL)


def copy_build(build, root, cases):
    """Copies the files of the tree that the tests need to the same paths, with stripped programs. Returns the tests to run."""
    tests = json.loads(subprocess.run(['meson', 'introspect', '--tests', build], check=True, stdout=subprocess.PIPE).stdout)
    # The longest test is the last one.
    chosen = sorted((test for test in tests if CHOSEN.fullmatch(test['name'])), key=lambda test: test['name'] == 'cli')
    inside = root + TOP
    for name in ('tests', 'scripts', 'README.md'):
        (shutil.copytree if os.path.isdir(f'{TOP}/{name}') else shutil.copy)(f'{TOP}/{name}', f'{inside}/{name}')
    wanted = {test['cmd'][0] for test in chosen}
    for at, _, names in os.walk(build):
        for name in names:
            path = os.path.join(at, name)
            program = os.access(path, os.X_OK) and not os.path.islink(path)
            if program and (path in wanted or re.search(r'/(launcher|boot|drivers|examples|children)/[^/]+$', path)):
                os.makedirs(root + at, exist_ok=True)
                run('strip', '-o', root + path, path)
    if cases:
        shutil.copytree(cases, root + '/cases')
    jobs = [{'name': test['name'], 'env': test['env'],
             'command': ['/usr/bin/python3' if 'python' in os.path.basename(test['cmd'][0]) else test['cmd'][0], *test['cmd'][1:]]} for test in chosen]
    write(root + '/guest.json', json.dumps({'jobs': jobs, 'build': build, 'top': TOP, 'patience': PATIENCE}))
    return jobs


def boot(work, kernel, minutes, memory):
    """Runs the machine and prints its output. Returns how many tests passed and failed."""
    machine = subprocess.Popen(
        ['qemu-system-x86_64', '-accel', 'tcg', '-cpu', 'max', '-smp', '2', '-m', str(memory), '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
         '-serial', 'stdio', '-kernel', kernel, '-initrd', os.path.join(work, 'initrd'), '-append', 'console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off printk.devkmsg=off',
         '-drive', f'file={os.path.join(work, "disk")},format=raw,if=virtio,cache=unsafe'],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors='replace')
    over = threading.Timer(minutes * 60, machine.kill)
    over.start()
    count, programs = None, [0, 1]  # counted here, because the machine may end without a count
    try:
        for line in machine.stdout:
            programs[0] += line.startswith('ok ')
            programs[1] += line.startswith('FAILED ')
            if told := re.fullmatch(r'(\d+) passed, (\d+) failed\s*', line):
                count = int(told[1]), int(told[2])
            else:
                print(line.rstrip(), flush=True)
    finally:
        machine.kill()
        machine.wait()
        ended = over.is_alive()
        over.cancel()
    if not ended:
        print(f'the machine was stopped after {minutes} minutes; the count is of programs, and those that did not run count as one failure')
    return count if ended and count else programs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build')
    parser.add_argument('--cases')
    parser.add_argument('--only', action='append', default=[])
    parser.add_argument('--minutes', type=float, default=60)
    parser.add_argument('--memory', type=int, default=1536)
    parser.add_argument('--root', help='an existing root file system, which is copied')
    options = parser.parse_args()
    prepare()
    with tempfile.TemporaryDirectory(prefix='ipcm-kernel-') as work:
        kernel = unpack_kernel(work)
        root = os.path.join(work, 'root')
        if options.root:
            run('cp', '-a', options.root, root)
        else:
            make_root(root)
        os.makedirs(root + TOP)
        copy_build(os.path.abspath(options.build), root, options.cases)
        with open(root + '/guest.json', encoding='utf-8') as file:
            guest = json.load(file)
        write(root + '/guest.json', json.dumps({**guest, 'only': options.only}))
        write(root + '/guest-init', SECOND_INIT.format(top=shlex.quote(TOP)), 0o755)
        run('mke2fs', '-q', '-t', 'ext4', '-d', root, os.path.join(work, 'disk'), FILE_SYSTEM, stdout=subprocess.DEVNULL)
        shutil.rmtree(root)
        print('== booting', os.path.basename(kernel), flush=True)
        count = boot(work, kernel, options.minutes, options.memory)
    print(f'{count[0]} passed, {count[1]} failed')
    return 1 if count[1] else 0


if __name__ == '__main__':
    sys.exit(main())
