#!/usr/bin/env python3
"""Writes the table of a benchmark run, benchmark.md, and its curves, as SVG if gnuplot is installed.

    table.py FOLDER     reads FOLDER/results/*.jsonl (bench.h describes the lines), writes into FOLDER
"""
import datetime
import glob
import json
import os
import platform
import shutil
import subprocess
import sys


def read(folder):
    rows = []
    for path in sorted(glob.glob(os.path.join(folder, 'results', '*.jsonl'))):
        with open(path, encoding='utf-8') as lines:
            rows += [json.loads(line) for line in lines if line.strip()]
    return rows


def number(value):
    if value is None:
        return ''
    if value >= 100000:
        return f'{value:,.0f}'.replace(',', ' ')
    return f'{value:.0f}' if value >= 1000 else f'{value:.3g}'


def wanted(row):
    """Returns the target, and whether it was met; ('', None) if there is none."""
    if row.get('at_most') is not None and 'ratio' in row:
        return f"≤ {row['at_most']:g} ×", row['ratio'] <= row['at_most']
    if row.get('at_least') is not None and 'ratio' in row:
        return f"≥ {row['at_least']:g} ×", row['ratio'] >= row['at_least']
    if row.get('within') is not None:
        return f"≤ {row['within']:g} {row['unit']}", row['median'] <= row['within']
    return '', None


def table(rows):
    lines = ['| question | | who | median | p99 | ratio | to | wanted | |', '| --- | --- | --- | ---: | ---: | ---: | --- | --- | --- |']
    last = None
    for row in rows:
        question = '' if row['question'] == last else row['question']
        last = row['question']
        if 'skipped' in row:
            cells = [question, row['variant'], '', 'skipped: ' + row['skipped'], '', '', '', '', '']
        else:
            limit, met = wanted(row)
            unit = row['unit']
            p99 = f"{number(row['p99'])} {unit}" if row['n'] >= 20 else ''
            ratio = f"{row['ratio']:.2f} ×" if 'ratio' in row else ''
            cells = [question, row['variant'], row['who'], f"{number(row['median'])} {unit}", p99, ratio, row.get('against', ''), limit,
                     '' if met is None else 'met' if met else '**missed**']
        lines.append('| ' + ' | '.join(cells) + ' |')
    return lines


def machine():
    model = ''
    with open('/proc/cpuinfo', encoding='utf-8') as lines:
        for line in lines:
            if line.startswith('model name'):
                model = line.split(':', 1)[1].strip()
                break
    load = ' '.join(f'{value:.2f}' for value in os.getloadavg())
    where = os.environ.get('IPCM_BENCH_DIRECTORY') or ('/dev/shm' if os.path.isdir('/dev/shm') else '/tmp')
    return f'{os.cpu_count()} processors ({model}), buses in {where}, Linux {platform.release()}, {datetime.date.today()}; load at the end {load}'


def curves(rows, folder):
    """Writes one SVG for each question that has points, with a line for each participant."""
    made = []
    gnuplot = shutil.which('gnuplot')
    questions = []
    for row in rows:
        if 'curve_x' in row and row['question'] not in questions:
            questions.append(row['question'])
    for question in questions:
        points = [row for row in rows if row['question'] == question and 'curve_x' in row]
        name = question.replace(' ', '-')
        everybody = list(dict.fromkeys(row['who'] for row in points))
        blocks = []
        for who in everybody:
            blocks.append('\n'.join(f"{row['curve_x']} {row['median']}" for row in points if row['who'] == who))
        with open(os.path.join(folder, name + '.dat'), 'w', encoding='utf-8') as data:
            data.write('\n\n\n'.join(blocks) + '\n')
        if not gnuplot:
            continue
        plots = ', '.join(f'"{name}.dat" index {at} title "{who}" with linespoints lw 2' for at, who in enumerate(everybody))
        script = f'''set terminal svg size 800,480 font "sans,13" background rgb "white"
set output "{name}.svg"
set logscale xy
set grid
set key left top
set title "{question}"
set xlabel "{points[0].get('curve_label', '')}"
set ylabel "median, {points[0]['unit']}"
plot {plots}
'''
        subprocess.run([gnuplot], input=script, text=True, cwd=folder, check=True)
        made.append(name + '.svg')
    return made


def main():
    folder = sys.argv[1]
    rows = read(folder)
    if not rows:
        sys.exit('table.py: no results in ' + os.path.join(folder, 'results') + '; run the benchmarks first')
    lines = [machine(), ''] + table(rows)
    made = curves(rows, folder)
    if made:
        lines += ['', 'Curves: ' + ', '.join(made)]
    path = os.path.join(folder, 'benchmark.md')
    with open(path, 'w', encoding='utf-8') as out:
        out.write('\n'.join(lines) + '\n')
    met = [wanted(row)[1] for row in rows if 'median' in row]
    print('\n'.join(lines))
    print(f'\n{met.count(True)} wanted figures met, {met.count(False)} missed; {path}')


main()
