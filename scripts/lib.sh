# What the scripts share. Sourced from the top of the tree.

heading() { printf '\n== %s\n' "$*"; }

# What only the tests and the buses in databases need: doctest, clients and private servers, peers in plain Perl.
test_packages='doctest-dev libsoci-dev libsqlite3-dev libpq-dev libmariadb-dev postgresql mariadb-server perl'

# What scripts/lint needs beside that.
lint_packages='git clang clang-format clang-tidy'

# install_packages [PACKAGE…]: on Debian, whatever is missing of what the build needs, and of these. Elsewhere the build says what it
# lacks.
install_packages() {
  packages="g++ meson ninja-build pkg-config libcli11-dev libcereal-dev libmd-dev libzstd-dev python3 $*"
  command -v dpkg-query >/dev/null || return 0
  missing=
  for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  heading "installing:$missing"
  root=
  [ "$(id -u)" = 0 ] || root=sudo
  # A lock that somebody else holds is waited for.
  $root apt-get -o DPkg::Lock::Timeout=120 update -qq
  DEBIAN_FRONTEND=noninteractive $root apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends $missing >/dev/null
}

# configure DIRECTORY [OPTION…]: once; later calls keep the options of the first.
configure() {
  [ ! -f "$1/build.ninja" ] || return 0
  heading "configuring $1"
  meson setup "$@" >"$1.log" 2>&1 || { cat "$1.log" >&2; return 1; }
  rm -f "$1.log"
}

# configure_lint: build-lint, of which clang-tidy reads compile_commands.json. A unity build lists no files of the tree.
configure_lint() {
  CC=clang CXX=clang++ configure build-lint -Dbench=disabled
}

# build_in DIRECTORY TARGETS [OPTION…]: one source file for each module and each test program (meson's unity builds), which costs a fifth of
# the time. The size is out of reach: where it divides a module's number of files, Meson 1.0 looks for one object too many.
# Warnings are errors in our own builds, not in those of users. Those that only an optimiser gives are shown and no errors: GCC 12 has
# false ones in its own headers, and they come and go with the optimisation level.
by_optimiser='-Wno-error=maybe-uninitialized -Wno-error=array-bounds -Wno-error=stringop-overflow -Wno-error=stringop-overread'
by_optimiser="$by_optimiser -Wno-error=restrict -Wno-error=free-nonheap-object -Wno-error=dangling-pointer -Wno-error=use-after-free"
build_in() {
  directory=$1
  targets=$2
  shift 2
  configure "$directory" -Dwerror=true -Dunity=on -Dunity_size=10000 "$@"
  heading "building $directory"
  ninja -C "$directory" $targets
}

# run_tests DIRECTORY TIMES
run_tests() {
  heading "testing in $1"
  status=0
  # They wait more than they compute: two at a time for each processor.
  meson test -C "$1" --no-rebuild --print-errorlogs --num-processes $(($(nproc) * 2)) --repeat "$2" || status=$?
  python3 scripts/count_tests.py "$1/meson-logs/testlog.json" || status=1
  return $status
}
