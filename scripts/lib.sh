# The shared functions of the scripts. Sourced from the top of the tree.

heading() { printf '\n== %s\n' "$*"; }

# Packages that only the tests and the buses in databases need: doctest, database clients and servers, Perl for peers.
test_packages='doctest-dev libsoci-dev libsqlite3-dev libpq-dev libmariadb-dev postgresql mariadb-server perl nodejs'

# Additional packages for scripts/lint.
lint_packages='git clang clang-format clang-tidy'

# install_packages [PACKAGE…]: on Debian, installs the missing packages of those that the build needs and of those named. On other
# systems it does nothing, and the build reports what is missing.
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
  # Waits if another process holds the lock of dpkg.
  $root apt-get -o DPkg::Lock::Timeout=120 update -qq
  DEBIAN_FRONTEND=noninteractive $root apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends $missing >/dev/null
}

# configure DIRECTORY [OPTION…]: configures a build directory once; later calls do nothing and keep its options.
configure() {
  [ ! -f "$1/build.ninja" ] || return 0
  heading "configuring $1"
  meson setup "$@" >"$1.log" 2>&1 || { cat "$1.log" >&2; return 1; }
  rm -f "$1.log"
}

# configure_lint: configures build-lint, for the compile_commands.json that clang-tidy reads. Not a unity build, which lists no files of the tree.
configure_lint() {
  CC=clang CXX=clang++ configure build-lint -Dbench=disabled
}

# build_in DIRECTORY TARGETS [OPTION…]: builds with one source file for each module and each test program (meson's unity builds), which
# takes a fifth of the time. The unity size is larger than any module: if it divides the number of files of a module, Meson 1.0 expects an
# object too many. Warnings are errors in the builds of these scripts, not in those of users. Warnings that only an optimiser gives are
# no errors: GCC 12 reports false ones in its own headers, and they depend on the optimisation level.
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

# run_tests DIRECTORY TIMES [OPTION…]: runs the tests TIMES times; the options go to `meson test`. Prints the count as the last line.
run_tests() {
  directory=$1
  times=$2
  shift 2
  heading "testing in $directory"
  status=0
  # Two tests at a time for each processor, because they wait more than they compute.
  meson test -C "$directory" --no-rebuild --print-errorlogs --num-processes $(($(nproc) * 2)) --repeat "$times" "$@" || status=$?
  python3 scripts/count_tests.py "$directory/meson-logs/testlog.json" || status=1
  return $status
}
