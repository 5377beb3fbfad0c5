"""Runs the programs in guest.json inside the emulated machine of kernel_test.py. Prints a line for each, and the count."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tests'))
import readme_test
LIMIT = 900  # seconds for one program


def finish(command, limit=LIMIT, **more):
    """Runs a command. Returns (status, output, seconds). Kills the processes that it leaves behind in its session."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **more)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = 'time over'
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        out.seek(0)
        return status, out.read().decode(errors='replace'), time.monotonic() - began


class Count:
    def __init__(self):
        self.log = []

    def add(self, name, status, output, seconds):
        word = 'ok' if status == 0 else 'not tried' if status == 77 else f'FAILED ({status})'
        print(f'{word:14} {seconds:7.1f} s  {name}', flush=True)
        if status not in (0, 77):
            lines = output.splitlines()
            # The lines that may name the reason, and the last lines.
            told = [line for line in lines if re.search(r'ERROR|FAIL|WRONG|Error:|TEST CASE', line)][:40]
            print('\n'.join('    ' + line for line in [*told, '…', *lines[-15:]]), flush=True)
        self.log.append({'name': name, 'result': 'OK' if status == 0 else 'SKIP' if status == 77 else 'FAIL', 'stdout': output})


def readme(count, top, env):
    with open(os.path.join(top, 'README.md'), encoding='utf-8') as file:
        examples = readme_test.shell_examples(file.read())
    for command, expected in examples:
        began = time.monotonic()
        why, output = readme_test.run_shell_example(command, expected, env, LIMIT)
        count.add('README: ' + command, why or 0, output, time.monotonic() - began)


def cases(count, folder, only, env):
    if not os.path.isdir(folder):
        return
    for name in sorted(os.listdir(folder)):
        if not name.endswith('.sh') or not wanted('case ' + name, only):
            continue
        with open(os.path.join(folder, name), encoding='utf-8') as file:
            needs_compiler = re.search(r'^\s*g\+\+ ', file.read(), re.MULTILINE)
        if needs_compiler and not shutil.which('g++'):
            count.add('case ' + name.removesuffix('.sh'), 77, 'it needs a compiler', 0)
        else:
            count.add('case ' + name.removesuffix('.sh'), *finish(['/bin/bash', os.path.join(folder, name)], 300, cwd='/tmp', env=env))


def wanted(name, only):
    return not only or any(word in name for word in only)


def main():
    with open(sys.argv[1], encoding='utf-8') as file:
        order = json.load(file)
    build, only = order['build'], order['only']
    print('kernel:', os.uname().release, flush=True)
    # A shell makes background programs ignore these signals. The tests send them.
    for one in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(one, signal.SIG_DFL)
    base = {key: os.environ[key] for key in ('PATH', 'HOME', 'LANG')}
    base['IPCM_TEST_PATIENCE'] = str(order['patience'])
    count = Count()
    for job in order['jobs']:
        if wanted(job['name'], only):
            count.add(job['name'], *finish(job['command'], env={**base, **job['env']}, cwd=order['top']))
    ours = {**base, 'IPCM': f'{build}/launcher/ipcm', 'BOOT': f'{build}/boot/ipcm-boot', 'IPCM_DRIVERS': f'{build}/drivers', 'SRC': order['top'],
            'BUILD': build, 'PATH': f'{build}/launcher:{build}/boot:{base["PATH"]}'}
    if wanted('README', only):
        readme(count, order['top'], ours)
    cases(count, '/cases', only, ours)
    log = '/tmp/testlog.json'
    with open(log, 'w', encoding='utf-8') as file:
        file.writelines(json.dumps(one) + '\n' for one in count.log)
    print('kernel:', os.uname().release, flush=True)
    subprocess.run([sys.executable, 'scripts/count_tests.py', log], check=False)


if __name__ == '__main__':
    main()
