"""Each folder includes only files of itself and of the layers below it: never of a layer above, or of a neighbour."""
import pathlib
import re
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent

# The folders that each folder may include, beside itself and the public headers.
LAYERS = {
    'lib/os': set(),
    'lib/wire': {'os'},
    'lib/loop': {'os'},
    'lib/handoff': {'wire', 'os'},
    'lib/ready': {'wire', 'os'},
    'lib/transport': {'loop', 'wire', 'os'},
    'drivers': {'transport'},
    'lib/launch': {'handoff', 'ready', 'loop', 'wire', 'os'},
    'lib/bus': {'transport', 'loop', 'wire', 'os'},
    'lib/client': {'bus', 'launch', 'transport', 'loop', 'wire', 'os'},
    'lib/service': {'client', 'bus', 'launch', 'handoff', 'ready', 'transport', 'loop', 'wire', 'os'},
    'boot': {'service', 'client', 'bus', 'launch', 'handoff', 'ready', 'transport', 'loop', 'wire', 'os'},
    'launcher': {'loop', 'os'},  # and the public headers, and LAUNCHER_WIRE
}
# The command is a user of the library like any other: of the rest it may include the system calls, the loop, and these
# functions on text, which it would have to write a second time.
LAUNCHER_WIRE = {f'wire/{name}.h' for name in ('json_text', 'nearest', 'printable', 'utf8')}
# The public headers that it may include are all.
PUBLIC_USERS = {'launcher'}
# The layer of each public header. A folder may include the headers of its own layer, and of the layers that it may include.
HEADERS = {
    'basics': 'os', 'callbacks': 'os', 'error': 'os', 'redirect': 'os', 'statistics': 'os',
    'bus_info': 'wire', 'content': 'wire', 'json_archive': 'wire', 'message': 'wire', 'spawn_options': 'wire',
    'boot_binary': 'launch', 'warm_pool': 'launch',
    'bus': 'bus', 'buses': 'bus', 'obituary': 'bus', 'service_log': 'bus', 'service_parameters': 'bus', 'stop': 'bus',
    'client': 'client', 'inspection': 'client', 'peer_events': 'client', 'peer_info': 'client', 'requester': 'client',
    'handle': 'service', 'launch': 'service', 'registry': 'service', 'service': 'service',
    'boot': 'boot',
}
COLLECTION = 'ipcm/ipcm.h'  # includes all others, and may be included by all that may include the public API
FOLDERS = {name.split('/')[-1] for name in LAYERS}
SYSTEM_HEADERS = re.compile(r'#include <(sys/|linux/|unistd|fcntl|signal|poll|pthread|netinet|arpa|dirent|sched)')


def includes(path):
    for line in path.read_text(encoding='utf-8').splitlines():
        match = re.match(r'#include "([^"]+)"', line)
        if match:
            yield match[1]


class Layers(unittest.TestCase):
    def test_arrows_point_down(self):
        wrong, seen = [], 0
        for folder, allowed in LAYERS.items():
            own = folder.split('/')[-1]
            for path in [*(TOP / folder).rglob('*.h'), *(TOP / folder).rglob('*.cc')]:
                for name in includes(path):
                    seen += 1
                    layer = name.split('/')[0]
                    if own in PUBLIC_USERS and (layer == 'ipcm' or name in LAUNCHER_WIRE):
                        continue
                    if layer == 'ipcm' and name != COLLECTION:
                        layer = HEADERS[name.removeprefix('ipcm/').removesuffix('.h')]
                    if layer in FOLDERS and layer != own and layer not in allowed:
                        wrong.append(f'{path.relative_to(TOP)} includes {name}')
        self.assertGreater(seen, 100)
        self.assertEqual(wrong, [])

    def test_public_headers_include_those_of_their_own_and_lower_layers(self):
        allowed = {name.split('/')[-1]: below for name, below in LAYERS.items()}
        wrong = []
        for path in (TOP / 'lib/include/ipcm').glob('*.h'):
            if f'ipcm/{path.name}' == COLLECTION:
                continue
            layer = HEADERS[path.stem]
            for name in includes(path):
                other = HEADERS[name.removeprefix('ipcm/').removesuffix('.h')]
                if other != layer and other not in allowed[layer]:
                    wrong.append(f'{path.name} includes {name}')
        self.assertEqual(wrong, [])

    def test_public_headers_include_public_headers_cereal_and_the_standard_library_only(self):
        wrong, seen = [], 0
        for path in (TOP / 'lib/include/ipcm').glob('*.h'):
            text = path.read_text(encoding='utf-8')
            seen += 1
            wrong += [f'{path.name} includes {name}' for name in includes(path) if not name.startswith('ipcm/')]
            if SYSTEM_HEADERS.search(text) or 'cereal/archives' in text or 'CLI/' in text:
                wrong.append(f'{path.name} includes a system header, a cereal archive or CLI11')
        self.assertGreater(seen, 10)
        self.assertEqual(wrong, [])

    def test_the_parser_of_the_command_line_is_known_to_one_file_only(self):
        users = [path.name for path in (TOP / 'launcher').rglob('*.cc') if '<CLI/' in path.read_text(encoding='utf-8')]
        self.assertEqual(users, ['options.cc'])


if __name__ == '__main__':
    unittest.main()
