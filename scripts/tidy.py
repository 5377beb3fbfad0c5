#!/usr/bin/env python3
"""Runs clang-tidy on source files of the tree, the most recently changed ones first.

  tidy.py BUILD [--all] [--seconds N]

BUILD has a compile_commands.json of a build without unity. Without --all, the files are those that have changed in the work tree or
since the last tag; if no tag exists, within the last 50 commits. After N seconds no further file is started, and the number of files that
were left out is printed. Exit status 1 if clang-tidy reports anything.
"""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COMMITS = 50


def git(*words, check=True):
    # safe.directory: in a container, the tree may belong to another user.
    return subprocess.run(('git', '-c', 'safe.directory=*', '-C', TOP, *words), check=check, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.splitlines()


def changed():
    """Returns the paths that have changed, the latest first: the work tree, then commit by commit. None: this is no git repository."""
    if subprocess.run(('git', '-c', 'safe.directory=*', '-C', TOP, 'rev-parse', 'HEAD'), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        return None
    paths = [line[3:].split(' -> ')[-1] for line in git('status', '--porcelain', '--untracked-files=all')]
    tag = git('describe', '--tags', '--abbrev=0', check=False)
    since = [f'{tag[0]}..HEAD'] if tag else [f'--max-count={COMMITS}']
    paths += git('log', '--format=', '--name-only', *since)
    return list(dict.fromkeys(path for path in paths if path))


def tidy(build, path):
    done = subprocess.run(('clang-tidy', '--quiet', '-p', build, path), cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # Where clang-tidy itself fails, the reason is on stderr; otherwise stderr only counts suppressed warnings.
    return done.returncode, done.stdout + (done.stderr if done.returncode and not done.stdout else '')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build')
    parser.add_argument('--all', action='store_true')
    parser.add_argument('--seconds', type=float, default=float('inf'))
    options = parser.parse_args()
    with open(os.path.join(options.build, 'compile_commands.json'), encoding='utf-8') as file:
        built = {os.path.realpath(os.path.join(entry['directory'], entry['file'])) for entry in json.load(file)}
    known = sorted(os.path.relpath(path, TOP) for path in built if path.startswith(TOP + os.sep))
    known = [path for path in known if not path.startswith(('build', 'subprojects'))]
    latest = None if options.all else changed()
    chosen = known if latest is None else [path for path in latest if path in set(known)]
    end = time.monotonic() + options.seconds
    left_out, found = [], False

    def one(path):
        return (path, *(tidy(options.build, path) if time.monotonic() < end else (None, '')))

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, status, text in pool.map(one, chosen):
            if status is None:
                left_out.append(path)
            elif status:
                found = True
                print(f'-- {path}\n{text}', flush=True)
    print(f'clang-tidy: {len(chosen) - len(left_out)} files checked, {len(left_out)} left out for lack of time')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
