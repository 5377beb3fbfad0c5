"""Writes the numbers and names of this machine's system calls: syscall_names.py OUTPUT COMPILER…"""
import re
import subprocess
import sys

output, compiler = sys.argv[1], sys.argv[2:]
macros = subprocess.run([*compiler, '-E', '-dM', '-x', 'c', '-'], input='#include <asm/unistd.h>\n', text=True, stdout=subprocess.PIPE,
                        check=True).stdout
with open(output, 'w', encoding='ascii') as file:
    for name, number in re.findall(r'^#define __NR_(\w+) (\d+)$', macros, re.M):
        file.write(f'{number} {name}\n')
