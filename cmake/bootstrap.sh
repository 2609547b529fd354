#!/bin/sh
# Installs what building and testing holdfast needs and this machine lacks, by the system's package manager.
#   sh cmake/bootstrap.sh         compiler, CMake, Ninja, the libraries, what the tests use
#   sh cmake/bootstrap.sh --ci    and what only .ci/run uses: Clang, clang-format, Google Benchmark, ccache,
#                                 what the benchmarks compare with: Boost, ZeroMQ, iceoryx;
#                                 and what the tests make file systems with: xfsprogs, btrfs-progs, libfuse 3
# Needs root, or sudo, which may want a password; apart from that it asks nothing. Where nothing is missing, it does nothing.
# A library without a package here is no failure: CMake fetches the pinned version (cmake/HoldfastDependencies.cmake).
set -eu

ci=no
case "${1-}" in
  '') ;;
  --ci) ci=yes ;;
  *) echo "usage: sh cmake/bootstrap.sh [--ci]" >&2; exit 2 ;;
esac

say() { echo "bootstrap: $*"; }
has() { command -v "$1" >/dev/null 2>&1; }

manager=none
for candidate in apt-get dnf pacman apk brew; do
  if has "$candidate"; then manager=$candidate; break; fi
done

cmake_is_new_enough() {
  has cmake || return 1
  version=$(cmake --version | sed -n '1s/.*version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
  major=${version% *}
  minor=${version#* }
  [ "$major" -gt 3 ] || { [ "$major" -eq 3 ] && [ "$minor" -ge 25 ]; }
}

# What is called how, in the order apt-get dnf pacman apk brew; "-": comes with the system, or is not to be had there.
package() {
  case $manager in
    apt-get) shift ;;
    dnf) shift 2 ;;
    pacman) shift 3 ;;
    apk) shift 4 ;;
    brew) shift 5 ;;
    *) set -- - ;;
  esac
  echo "$1"
}

is_installed() {
  case $manager in
    apt-get) dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$' ;;
    dnf) rpm -q "$1" >/dev/null 2>&1 ;;
    pacman) pacman -Q "$1" >/dev/null 2>&1 ;;
    apk) apk info -e "$1" >/dev/null 2>&1 ;;
    brew) brew list "$1" >/dev/null 2>&1 ;;
    *) return 1 ;;
  esac
}

missing=
add() {
  case " $missing " in
    *" $1 "*) ;;
    *) [ "$1" = - ] || missing="$missing $1" ;;
  esac
}
need_command() {  # <command> <its package, per manager>
  if ! has "$1"; then add "$(package "$@")"; fi
}
need_library() {  # <name> <its package, per manager>
  library=$(package "$@")
  if [ "$library" != - ] && ! is_installed "$library"; then add "$library"; fi
}

#            what           apt-get            dnf                 pacman         apk                 brew
need_command c++            g++                gcc-c++             gcc            g++                 gcc
cmake_is_new_enough || \
  add "$(package cmake      cmake              cmake               cmake          cmake               cmake)"
need_command ninja          ninja-build        ninja-build         ninja          samurai             ninja
need_command git            git                git                 git            git                 git
need_command pkg-config     pkg-config         pkgconf-pkg-config  pkgconf        pkgconf             pkg-config
need_command unshare        util-linux         util-linux-core     util-linux     util-linux-misc     -
need_command spin           spin               -                   -              -                   spin
need_library fmt            libfmt-dev         fmt-devel           fmt            fmt-dev             fmt
need_library xxhash         libxxhash-dev      xxhash-devel        xxhash         xxhash-dev          xxhash
need_library gtest          libgtest-dev       gtest-devel         gtest          gtest-dev           googletest
need_library gmock          libgmock-dev       gmock-devel         -              -                   -
need_library CLI11          libcli11-dev       cli11-devel         cli11          cli11-dev           cli11
need_library nlohmann-json  nlohmann-json3-dev json-devel          nlohmann-json  nlohmann-json       nlohmann-json
if [ $ci = yes ]; then
  need_command g++          g++                gcc-c++             gcc            g++                 -
  if [ $manager = apt-get ] || ! has clang++; then
    need_command clang++-19 clang-19           clang               clang          clang               -
  fi
  need_library clang-rt     libclang-rt-19-dev compiler-rt         compiler-rt    compiler-rt         -
  need_command clang-format-14 clang-format-14 clang-tools-extra   clang          clang-extra-tools   clang-format
  need_library benchmark    libbenchmark-dev   google-benchmark-devel benchmark   benchmark-dev       google-benchmark
  need_library boost        libboost-dev       boost-devel         boost          boost-dev           boost
  need_library zeromq       libzmq3-dev        zeromq-devel        zeromq         zeromq-dev          zeromq
  need_library iceoryx      libiceoryx-posh-dev -                  -              -                   -
  need_command iox-roudi    iceoryx            -                   -              -                   -
  need_command ccache       ccache             ccache              ccache         ccache              ccache
  need_command mkfs.xfs     xfsprogs           xfsprogs            xfsprogs       xfsprogs            -
  need_command mkfs.btrfs   btrfs-progs        btrfs-progs         btrfs-progs    btrfs-progs         -
  need_library fuse3        libfuse3-dev       fuse3-devel         fuse3          fuse3-dev           -
fi
missing=${missing# }

if [ -z "$missing" ]; then
  say "everything is there, nothing to do"
  exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ] && [ $manager != brew ]; then
  if ! has sudo; then
    say "missing: $missing. Installing needs root, and there is no sudo." >&2
    exit 1
  fi
  as_root=sudo
fi

install_packages() {
  case $manager in
    apt-get)
      $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" ;;
    dnf) $as_root dnf install -y -q "$@" ;;
    pacman) $as_root pacman -S --needed --noconfirm "$@" ;;
    apk) $as_root apk add "$@" ;;
    brew) brew install "$@" ;;
  esac
}

log=$(mktemp "${TMPDIR:-/tmp}/holdfast-bootstrap.XXXXXX")
trap 'rm -f "$log"' EXIT
trap 'exit 1' INT TERM

if [ $manager = none ]; then
  say "no package manager known to this script (apt-get, dnf, pacman, apk, brew)" >&2
else
  say "installing with $manager: $missing"
  # Package lists are fetched only when the ones at hand do not do.
  # shellcheck disable=SC2086
  if ! install_packages $missing >"$log" 2>&1; then
    case $manager in
      apt-get) $as_root apt-get update -qq -o DPkg::Lock::Timeout=300 >"$log" 2>&1 || cat "$log" >&2 ;;
      pacman) $as_root pacman -Sy --noconfirm >"$log" 2>&1 || cat "$log" >&2 ;;
      apk) $as_root apk update >"$log" 2>&1 || cat "$log" >&2 ;;
    esac
    # shellcheck disable=SC2086
    if ! install_packages $missing >"$log" 2>&1; then
      for one in $missing; do
        install_packages "$one" >"$log" 2>&1 || { say "could not install $one:" >&2; tail -n 5 "$log" >&2; }
      done
    fi
  fi
  if [ $ci = yes ] && ! has clang++-19 && ! has clang++; then
    install_packages clang >"$log" 2>&1 || { say "could not install clang:" >&2; tail -n 5 "$log" >&2; }
  fi
fi

status=0
for tool in c++ ninja git; do
  if ! has "$tool"; then say "still missing: $tool" >&2; status=1; fi
done
if ! cmake_is_new_enough; then
  say "still missing: CMake 3.25 or newer (https://cmake.org/download, or pip install cmake)" >&2
  status=1
fi
[ $status -ne 0 ] || say "done"
exit $status
