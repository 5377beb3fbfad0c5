#!/usr/bin/env python3
"""Runs a command with a private database server: servers.py postgresql|mariadb COMMAND…

The server runs as a user without privileges and listens only on a socket in a temporary directory. It does not sync to disk;
the server and its data are removed after the command. The environment of the command has IPCM_TEST_ROUTE (a database),
IPCM_DB_USER and IPCM_DB_PASSWORD. Exit status: that of the command; 77 if the server is not installed.
"""
import ctypes
import glob
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

SKIPPED = 77
PR_SET_PDEATHSIG = 1
START_TIME = 60 * int(os.environ.get("IPCM_TEST_PATIENCE", "1"))


def skip(why):
    print('skipped: ' + why, file=sys.stderr)
    sys.exit(SKIPPED)


def find(program, *folders):
    places = [path for folder in folders for path in sorted(glob.glob(folder), reverse=True)]
    return shutil.which(program, path=os.pathsep.join([*places, *os.environ.get('PATH', '').split(os.pathsep), '/usr/sbin']))


class Server:
    """A private server; `with` starts and ends it."""

    def __init__(self, users):
        self.user = None
        if os.geteuid() == 0:  # servers refuse root
            known = [name for name in users if name in {entry.pw_name for entry in pwd.getpwall()}]
            if not known:
                skip('no user to run the server as; wanted one of ' + ', '.join(users))
            self.user = pwd.getpwnam(known[0])
        self.directory = tempfile.mkdtemp(prefix='ipcm-server-')
        if self.user:
            os.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
        self.password = secrets.token_hex(12)
        self.process = None

    def path(self, name):
        return os.path.join(self.directory, name)

    def options(self):
        as_user = {'user': self.user.pw_uid, 'group': self.user.pw_gid, 'extra_groups': []} if self.user else {}
        env = {'PATH': os.environ.get('PATH', '/usr/bin:/bin'), 'HOME': self.directory, 'LC_ALL': 'C'}
        return {**as_user, 'cwd': self.directory, 'env': env, 'stdin': subprocess.DEVNULL}

    def run(self, *command):
        """Runs a command. Returns why it failed; empty if it succeeded."""
        done = subprocess.run(command, **self.options(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=START_TIME)
        return f'{command[0]} failed: {done.stdout}' if done.returncode != 0 else ''

    def start(self, command, ready):
        """Starts the server, and waits until it prints `ready`. Reads and drops its later output, so that it never blocks."""
        def die_with_us():
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        self.process = subprocess.Popen(command, **self.options(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, errors='replace', preexec_fn=die_with_us)
        timer = threading.Timer(START_TIME, self.process.kill)
        timer.start()
        said = []
        for line in self.process.stdout:
            said.append(line)
            if ready in line:
                break
        else:
            sys.exit(f'{command[0]} did not start: {"".join(said)}')
        timer.cancel()
        threading.Thread(target=lambda: self.process.stdout.read(), daemon=True).start()

    def __enter__(self):
        try:
            self.set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.send_signal(self.end_signal)
            try:
                self.process.wait(START_TIME)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Postgresql(Server):
    end_signal = signal.SIGQUIT  # an immediate shutdown

    def __init__(self):
        folders = ('/usr/lib/postgresql/*/bin', '/usr/pgsql-*/bin')
        self.programs = {name: find(name, *folders) for name in ('initdb', 'postgres', 'psql')}
        missing = [name for name, path in self.programs.items() if not path]
        if missing:
            skip('PostgreSQL is not installed (no ' + ', '.join(missing) + ')')
        super().__init__(('postgres', 'nobody'))

    def set_up(self):
        with open(self.path('password'), 'w', encoding='ascii') as file:
            file.write(self.password)
        os.chmod(self.path('password'), 0o644)
        why = self.run(self.programs['initdb'], '-D', self.path('data'), '-U', 'tester', '-A', 'scram-sha-256', '--pwfile',
                       self.path('password'), '--no-sync', '-E', 'UTF8', '--locale=C')
        if why:
            sys.exit(why)
        self.start([self.programs['postgres'], '-D', self.path('data'), '-k', self.directory, '-c', 'listen_addresses=',
                    '-c', 'fsync=off', '-c', 'synchronous_commit=off', '-c', 'full_page_writes=off', '-c',
                    'max_connections=200', '-c', 'shared_buffers=32MB', '-c', 'autovacuum=off'],
                   'ready to accept connections')
        self.route = f'dbi:Pg:dbname=template1;host={self.directory}'
        env = {**os.environ, 'PGPASSWORD': self.password}
        subprocess.run([self.programs['psql'], '-q', '-h', self.directory, '-U', 'tester', 'template1', '-c',
                        'CREATE DATABASE ipcm'], env=env, check=True, timeout=START_TIME)
        self.route = f'dbi:Pg:dbname=ipcm;host={self.directory}'


class Mariadb(Server):
    end_signal = signal.SIGKILL  # its data is not needed

    def __init__(self):
        self.programs = {name: find(name) for name in ('mariadb-install-db', 'mariadbd', 'mariadb')}
        missing = [name for name, path in self.programs.items() if not path]
        if missing:
            skip('MariaDB is not installed (no ' + ', '.join(missing) + ')')
        super().__init__(('mysql', 'nobody'))

    def set_up(self):
        # MariaDB 10.11 sometimes fails to install its system tables on a loaded machine: it crashes in
        # ha_maria::drop_table, or does not find mysql.tmp_user_sys.
        attempts = 3
        for attempt in range(1, attempts + 1):
            why = self.run(self.programs['mariadb-install-db'], '--no-defaults', '--datadir=' + self.path('data'),
                           '--skip-test-db', '--auth-root-authentication-method=normal',
                           '--innodb-flush-log-at-trx-commit=0', '--tmpdir=' + self.directory)
            if not why:
                break
            if attempt == attempts:
                sys.exit(why)
            shutil.rmtree(self.path('data'))
        socket = self.path('socket')
        self.start([self.programs['mariadbd'], '--no-defaults', '--datadir=' + self.path('data'), '--socket=' + socket,
                    '--skip-networking', '--pid-file=' + self.path('pid'), '--innodb-flush-log-at-trx-commit=0',
                    '--innodb-doublewrite=0', '--innodb-flush-method=nosync', '--max-allowed-packet=256M',
                    '--max-connections=300', '--innodb-buffer-pool-size=32M', '--tmpdir=' + self.directory],
                   'ready for connections')
        # The reference passes no user, which means the user of the process, and no password.
        own = pwd.getpwuid(os.geteuid()).pw_name
        commands = f"CREATE DATABASE ipcm; CREATE USER tester IDENTIFIED BY '{self.password}'; " \
                   f"CREATE USER IF NOT EXISTS '{own}'@'localhost'; GRANT ALL ON ipcm.* TO '{own}'@'localhost'; " \
                   "GRANT ALL ON ipcm.* TO tester; DROP USER IF EXISTS ''@'localhost'; DELETE FROM mysql.global_priv " \
                   "WHERE User = ''; FLUSH PRIVILEGES"
        subprocess.run([self.programs['mariadb'], '--no-defaults', '--socket=' + socket, '-u', 'root'], input=commands,
                       text=True, check=True, timeout=START_TIME)
        self.route = f'dbi:MariaDB:database=ipcm;mariadb_socket={socket}'


def main():
    kinds = {'postgresql': Postgresql, 'mariadb': Mariadb}
    if len(sys.argv) < 3 or sys.argv[1] not in kinds:
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that `with` ends the server
    with kinds[sys.argv[1]]() as server:
        env = {**os.environ, 'IPCM_TEST_ROUTE': server.route, 'IPCM_DB_USER': 'tester',
               'IPCM_DB_PASSWORD': server.password}
        status = subprocess.run(sys.argv[2:], env=env, check=False).returncode
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == '__main__':
    main()
