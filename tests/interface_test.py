"""The public interface from outside the tree: the files for pkg-config, installed and not, and the messages of the compiler for mistakes."""
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ['IPCM_TEST_BUILD'])
CXX = shlex.split(os.environ.get('IPCM_TEST_CXX', 'c++'))

HEAD = '''
#include <ipcm/ipcm.h>
struct Opaque { int* inside; };
struct Named { std::string name; template <class A> void serialize(A& a) { a(CEREAL_NVP(name)); } };
struct Wrong : ipcm::Service { struct Args { int x = 0; template <class A> void serialize(A& a) { a(CEREAL_NVP(x)); } };
  using ipcm::Service::Service; };
struct Right : ipcm::Service { struct Args { int x = 0; template <class A> void serialize(A& a) { a(CEREAL_NVP(x)); } };
  Right(ipcm::ServiceSetup setup, Args) : Service(std::move(setup)) {} };
struct Plain : ipcm::Service { using ipcm::Service::Service; };
struct NoService {};
'''

# The mistake, the code, and a part of the message that the compiler must print.
MISTAKES = [
    ('Args that the constructor does not take', 'ipcm::Registry r; r.add<Wrong>("w", "");', 'S declares Args, so it needs a public constructor'),
    ('a class that is no service', 'ipcm::Registry r; r.add<NoService>("n", "");', 'must be a class derived publicly from ipcm::Service'),
    ('sending what cereal can\'t write', 'void f(ipcm::Client& c) { c.send_message("x", Opaque{}); }', "this type can't be sent"),
    ('asking with it', 'void f(ipcm::Handle& h) { h.sync_request(Opaque{}); }', "this type can't be sent"),
    ('answering with it', 'ipcm::Answer f() { return Opaque{}; }', "this type can't be sent"),
    ('reading it', 'void f(ipcm::Response& r) { (void)r.as<Opaque>(); }', "this type can't be read from content"),
]

FINE = '''
void registers(ipcm::Registry& r) { r.add<Right>("r", ""); r.add<Plain>("p", ""); }
void asks(ipcm::Handle& h, ipcm::Peer& p) {
  h.send_request(Named{"a"}, [](const ipcm::Response& r) { (void)r.as<Named>(); });
  h.send_request("peer", Named{"a"}, [](auto& r) { (void)r.ok(); });
  h.send_request("text", [](const ipcm::Response&) {});
  p.send_request("text", ipcm::ResponseCallback{});
  (void)h.sync_request<Named>("peer", Named{}, std::chrono::seconds(1));
}
ipcm::Answer answers(int which) {
  if (which == 0) return ipcm::later;
  if (which == 1) return Named{"a"};
  if (which == 2) return ipcm::Content(1);
  ipcm::Answer other = "text";
  ipcm::Answer copy = other;
  return copy;
}
'''

# A whole program that asks a service which another program has started, on the bus in $IPCM_INFO.
ASKS = '''
#include <cstdlib>
#include <iostream>
#include <ipcm/ipcm.h>
int main() {
  ipcm::Client client = ipcm::ipcm_connect_anonymous(std::getenv("IPCM_INFO"));
  std::cout << client.sync_request<std::string>("up", "hi", std::chrono::seconds(20)) << std::endl;
}
'''


class Interface(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='ipcm-interface-'))
        self.addCleanup(shutil.rmtree, self.dir)

    def run_(self, *command, env=None):
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, env={**os.environ, **(env or {})})

    def compile(self, code, *more):
        source = self.dir / 'code.cc'
        source.write_text(HEAD + code)
        return self.run_(*CXX, '-std=c++20', '-fsyntax-only', *more, '-I', TOP / 'lib/include', source,
                         env={'LC_ALL': 'C'})

    def flags(self, path, **env):
        flags = self.run_('pkg-config', '--cflags', '--libs', 'ipcm', env={'PKG_CONFIG_PATH': str(path), **env})
        self.assertEqual(flags.returncode, 0, flags.stderr)
        self.assertNotIn('-D', flags.stdout)
        return shlex.split(flags.stdout)

    def build_and_run_the_example(self, flags):
        for name in ['greeter_boot.cc', 'main.cc', 'greeter.h']:
            shutil.copy(TOP / 'examples/greeter' / name, self.dir)
        for program in ['greeter_boot', 'main']:
            built = self.run_(*CXX, '-std=c++20', '-o', self.dir / program, self.dir / (program + '.cc'), *flags)
            self.assertEqual(built.returncode, 0, built.stderr)
        ran = self.run_(self.dir / 'main', self.dir / 'greeter_boot', env={'TMPDIR': str(self.dir)})
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn('you', ran.stdout)

    @unittest.skipUnless(shutil.which('pkg-config'), 'needs pkg-config')
    def test_the_example_compiles_outside_the_tree_against_the_build(self):
        self.build_and_run_the_example(self.flags(BUILD / 'meson-uninstalled'))

    @unittest.skipUnless(shutil.which('pkg-config') and shutil.which('meson'), 'needs pkg-config and meson')
    def test_the_example_compiles_outside_the_tree_against_what_is_installed(self):
        root = self.dir / 'root'
        installed = self.run_('meson', 'install', '-C', BUILD, '--no-rebuild', '--quiet', '--destdir', root)
        self.assertEqual(installed.returncode, 0, installed.stderr)
        found = next(root.rglob('ipcm.pc'))
        # The sysroot is the directory that stands for / in this installation.
        self.build_and_run_the_example(self.flags(found.parent, PKG_CONFIG_SYSROOT_DIR=str(root)))

    @unittest.skipUnless(shutil.which('pkg-config'), 'needs pkg-config')
    def test_a_program_outside_the_tree_asks_the_service_of_another_program(self):
        (self.dir / 'asks.cc').write_text(ASKS)
        built = self.run_(*CXX, '-std=c++20', '-o', self.dir / 'asks', self.dir / 'asks.cc', *self.flags(BUILD / 'meson-uninstalled'))
        self.assertEqual(built.returncode, 0, built.stderr)
        ipcm = BUILD / 'launcher/ipcm'
        ran = self.run_(ipcm, 'session', '--', 'sh', '-c', '"$0" start --raw --name up -- tr a-z A-Z && "$1"', ipcm, self.dir / 'asks',
                        env={'TMPDIR': str(self.dir), 'IPCM_BOOT': str(BUILD / 'boot/ipcm-boot')})
        self.assertEqual((ran.returncode, ran.stdout.splitlines()[-1:]), (0, ['HI']), ran.stderr)

    def test_what_is_right_compiles(self):
        compiled = self.compile(FINE, '-Wall', '-Wextra', '-Werror')
        self.assertEqual(compiled.returncode, 0, compiled.stderr)

    def test_mistakes_are_one_sentence(self):
        for what, code, sentence in MISTAKES:
            with self.subTest(what):
                code = code if 'f(' in code else 'void f() { ' + code + ' }'
                compiled = self.compile(code)
                self.assertNotEqual(compiled.returncode, 0)
                errors = [line for line in compiled.stderr.splitlines() if 'error:' in line]
                self.assertEqual(len(errors), 1, compiled.stderr)
                self.assertIn(sentence, errors[0])
                self.assertLess(len(compiled.stderr.splitlines()), 30, compiled.stderr)  # clang explains more than gcc


if __name__ == '__main__':
    unittest.main()
