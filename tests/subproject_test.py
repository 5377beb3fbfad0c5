"""A project of users has ipcm as a meson subproject: two programs that include <ipcm/ipcm.h> alone; one asks the service of the other."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent

PROJECT = '''
project('outside', 'cpp', version: '7', default_options: ['cpp_std=c++20', 'warning_level=3', 'werror=true'])
ipcm_dep = dependency('ipcm', fallback: ['ipcm', 'ipcm_dep'])
executable('serves', 'serves.cc', dependencies: ipcm_dep)
executable('asks', 'asks.cc', dependencies: ipcm_dep)
'''

SERVES = '''
#include <ipcm/ipcm.h>
class Doubler final : public ipcm::Service {
 public:
  using Service::Service;
  ipcm::Answer handle_request(const ipcm::Request& request) override { return 2 * request.as<int>(); }
};
int main(int argc, char** argv) {
  ipcm::Registry registry;
  registry.add<Doubler>("doubler", "doubles a number");
  return ipcm::boot(argc, argv, registry);
}
'''

ASKS = '''
#include <cstdlib>
#include <iostream>
#include <ipcm/ipcm.h>
int main() {
  ipcm::Client client = ipcm::ipcm_connect_anonymous(std::getenv("IPCM_INFO"));
  std::cout << client.sync_request<int>("doubler", 21, std::chrono::seconds(20)) << std::endl;
}
'''


class Subproject(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='ipcm-subproject-'))
        self.addCleanup(shutil.rmtree, self.dir)

    def run_(self, *command, **env):
        ran = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**os.environ, **env})
        self.assertEqual(ran.returncode, 0, f'{command}\n{ran.stdout[-5000:]}\n{ran.stderr[-5000:]}')
        return ran.stdout

    @unittest.skipUnless(shutil.which('meson') and shutil.which('ninja'), 'needs meson and ninja')
    def test_a_program_of_an_outside_project_asks_the_service_of_another_and_only_the_library_is_built(self):
        for name, text in (('meson.build', PROJECT), ('serves.cc', SERVES), ('asks.cc', ASKS)):
            (self.dir / name).write_text(text)
        (self.dir / 'subprojects').mkdir()
        (self.dir / 'subprojects/ipcm').symlink_to(TOP)
        build = self.dir / 'build'
        # Not the system's package: the tree. A few large sources compile in half the time.
        self.run_('meson', 'setup', build, self.dir, '--force-fallback-for=ipcm', '-Doptimization=0', '-Ddebug=false', '-Dunity=subprojects',
                  '-Dunity_size=10000', CXX=os.environ.get('IPCM_TEST_CXX', 'c++'))
        targets = self.run_('ninja', '-C', build, '-t', 'targets', 'all')
        for folder in ('tests', 'examples'):
            self.assertNotIn(f'subprojects/ipcm/{folder}/', targets)
        self.run_('ninja', '-C', build, '-j', '2', 'serves', 'asks')
        self.assertFalse((build / 'subprojects/ipcm/launcher/ipcm').exists())
        ipcm = os.environ['IPCM_TEST_IPCM']
        out = self.run_(ipcm, 'session', '--', 'sh', '-c', '"$0" start doubler --boot "$1" && "$2"', ipcm, build / 'serves', build / 'asks',
                        TMPDIR=str(self.dir))
        self.assertEqual(out, 'doubler\n42\n')


if __name__ == '__main__':
    unittest.main()
