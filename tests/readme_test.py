"""README.md is correct: each shell example runs and prints the output in the text, and each C++ snippet compiles as it is printed.
So do the examples at the head of the public headers.

scripts/kernel_guest.py runs the shell examples through run_shell_example(), too.
"""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import textwrap
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent
HANG = 60 * int(os.environ.get('IPCM_TEST_PATIENCE', '1'))  # seconds; ends a hang


def shell_examples(text):
    """Returns (command, lines that it prints according to the text) of each `    $ ` line."""
    examples, inside = [], False
    for line in text.splitlines():
        if line.startswith('    $ '):
            examples.append((line[6:].split('   #')[0].rstrip(), []))
            inside = True
        elif inside and line.startswith('    '):
            examples[-1][1].append(line[4:])
        else:
            inside = False
    return examples


def cpp_snippets(text):
    return re.findall(r'^```cpp\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)


def header_examples(text):
    """Returns the indented parts of the comment that begins with `// Example:`."""
    comment = re.search(r'^// Example:.*?(?=^(?!//))', text, re.DOTALL | re.MULTILINE)
    if not comment:
        return []
    lines = [line[2:] for line in comment[0].splitlines()]
    parts = re.split(r'^ \S.*$', '\n'.join(lines), flags=re.MULTILINE)
    return [textwrap.dedent(part).strip('\n') + '\n' for part in parts if part.strip()]


def compile_cpp(source):
    """Returns what the compiler reports."""
    compiler = os.environ['IPCM_TEST_CXX'].split()
    done = subprocess.run([*compiler, '-std=c++20', '-fsyntax-only', f'-I{TOP}/lib/include', '-x', 'c++', '-'], input=source, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=HANG * 5, check=False)
    return done.stdout if done.returncode else ''


def same_output(expected, found):
    """Compares lines; times may differ."""
    def plain(line):
        return re.sub(r'[\d.]+ ?m?s\b', 'N s', line)
    return [plain(line) for line in expected] == [plain(line) for line in found]


def run_shell_example(command, expected, env, limit=HANG):
    """Runs an example in its own directory, which has the files in the text. Returns (why it failed or '', its output)."""
    with tempfile.TemporaryDirectory(prefix='ipcm-readme-') as place, tempfile.TemporaryFile() as out:
        with open(place + '/requests.jsonl', 'w', encoding='ascii') as file:
            file.write('1\n{"two":2}\n')
        with open(place + '/mine', 'w', encoding='ascii') as file:
            file.write('#!/bin/sh\necho no database here >&2\nexit 3\n')
        os.chmod(place + '/mine', 0o755)
        os.mkdir(place + '/run', 0o700)
        own = {**env, 'XDG_RUNTIME_DIR': place + '/run', 'XDG_STATE_HOME': place + '/run', 'TMPDIR': place + '/run'}
        # With -e, each command of a list counts, not only the last one.
        process = subprocess.Popen(['/bin/sh', '-ec', command], cwd=place, env=own, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        out.seek(0)
        output = out.read().decode(errors='replace')
    error_expected = bool(expected) and expected[0].startswith('ipcm: ')
    if status is None:
        return 'time over', output
    if expected and not same_output(expected, output.splitlines()):
        return 'another output', output
    if (status != 0) != error_expected:
        return f'status {status}', output
    return '', output


class Readme(unittest.TestCase):
    def setUp(self):
        self.text = (TOP / 'README.md').read_text(encoding='utf-8')

    def test_each_shell_example_prints_what_the_text_says(self):
        ipcm, boot = os.environ['IPCM_TEST_IPCM'], os.environ['IPCM_TEST_BOOT']
        env = {name: value for name, value in os.environ.items() if not name.startswith('IPCM_') or name == 'IPCM_DRIVERS'}
        env['PATH'] = os.pathsep.join((os.path.dirname(ipcm), os.path.dirname(boot), env['PATH']))
        examples = shell_examples(self.text)
        self.assertGreaterEqual(len(examples), 7)
        self.assertGreaterEqual(sum(bool(expected) for _, expected in examples), 2)
        for command, expected in examples:
            with self.subTest(command):
                why, output = run_shell_example(command, expected, env)
                self.assertEqual(why, '', output)

    def test_the_snippets_compile_as_they_are_printed(self):
        program, *fragments = cpp_snippets(self.text)
        self.assertIn('int main(', program)
        self.assertTrue(fragments)
        # The fragments use the classes of the program; each is the body of a function.
        source = program + ''.join(f'void fragment_{number}() {{\n{text}}}\n' for number, text in enumerate(fragments))
        self.assertEqual(compile_cpp(source), '')

    def test_the_examples_of_the_public_headers_compile(self):
        found = {}
        for header in sorted((TOP / 'lib/include/ipcm').glob('*.h')):
            found[header.name] = header_examples(header.read_text(encoding='utf-8'))
        with_examples = {name for name, examples in found.items() if examples}
        self.assertLessEqual({'client.h', 'launch.h', 'service.h'}, with_examples)
        bodies = [example for name in sorted(with_examples) for example in found[name]]
        source = '#include <ipcm/ipcm.h>\n' + ''.join(
            f'int example_{number}([[maybe_unused]] int argc, [[maybe_unused]] char** argv) {{\n{body}}}\n' for number, body in enumerate(bodies))
        self.assertEqual(compile_cpp(source), '')


class Extractor(unittest.TestCase):
    """Tests of the check itself: a check that accepts everything does not fail."""

    def test_a_different_output_or_status_is_a_failure(self):
        env = {'PATH': os.environ['PATH']}
        self.assertEqual(run_shell_example('echo 1', ['1'], env)[0], '')
        self.assertEqual(run_shell_example('echo 1', ['2'], env)[0], 'another output')
        self.assertEqual(run_shell_example('false; true', [], env)[0], 'status 1')
        self.assertEqual(run_shell_example('echo "ipcm: no"', ['ipcm: no'], env)[0], 'status 0')

    def test_comments_and_text_below_are_no_part_of_an_example(self):
        self.assertEqual(shell_examples('    $ a b   # c\n    d\n\n    e\n    $ f\n'), [('a b', ['d']), ('f', [])])


    def test_the_examples_of_a_header_are_its_indented_lines(self):
        text = '#pragma once\n\n// Example: one.\n//\n//     a();\n//\n//     b();\n//\n// Two:\n//\n//     c();\n\n#include <x>\n'
        self.assertEqual(header_examples(text), ['a();\n\nb();\n', 'c();\n'])
        self.assertNotEqual(compile_cpp('int f() { return g(); }'), '')


if __name__ == '__main__':
    unittest.main()
