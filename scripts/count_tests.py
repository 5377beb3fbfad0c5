#!/usr/bin/env python3
"""Adds up the test cases in a meson test log, from the counts of doctest and unittest: `N passed, N failed`.

A program that failed without a count, because it crashed or hung, counts as one failure.
"""
import json
import re
import sys

passed = failed = 0
with open(sys.argv[1], encoding='utf-8') as log:
    for line in log:
        test = json.loads(line)
        output = test.get('stdout', '') + test.get('stderr', '')
        bad = good = 0
        for match in re.finditer(r'test cases:\s+\d+ \|\s+(\d+) passed \|\s+(\d+) failed', output):
            good, bad = good + int(match[1]), bad + int(match[2])
        for match in re.finditer(r'^Ran (\d+) tests? in', output, re.M):
            problems = re.search(r'^FAILED \((.*)\)', output, re.M)
            counts = [int(n) for n in re.findall(r'(?:failures|errors)=(\d+)', problems[1])] if problems else [0]
            good, bad = good + int(match[1]) - sum(counts), bad + sum(counts)
        if test['result'] not in ('OK', 'SKIP') and bad == 0:
            bad = 1
        if test['result'] == 'OK' and good == 0:
            good = 1  # a program without a count of test cases
        passed, failed = passed + good, failed + bad
print(f'{passed} passed, {failed} failed')
sys.exit(1 if failed or not passed else 0)
