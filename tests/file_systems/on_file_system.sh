#!/bin/sh
# on_file_system.sh <file system> <program>...: FileLock's tests on a file system of that kind, made for this run.
#   <file system>  ext4 xfs btrfs tmpfs overlayfs
#                  fuse                  a directory passed through, by test_file_system
#                  fuse_plain            its renames know no flags
#                  fuse_without_fifos    nor does it make FIFOs
#                  fuse_lost_replies     each seventh rename is done, and reported as failed
#                  fuse_two_mounts       of one server, as two containers may have them
#   <program>      a test program, or the FUSE file system; each is known by its file's name
# HOLDFAST_FILE_SYSTEM_ROUNDS=n: everything n times, and n seconds of kills each; default 1.
# 0: it has held. 1: it has not. 77: NOT TESTED, with the reason.
# Mounts and processes live in namespaces of their own, which the kernel removes with the last process in them, also
# after a SIGKILL; images are in memory. Nothing is left behind.
set -u
LC_ALL=C
export LC_ALL
not_tested() { echo "NOT TESTED: $*"; exit 77; }

if [ "${1-}" != --inside ]; then
  [ $# -ge 2 ] || { sed -n '2,14s/^# //p' "$0" >&2; exit 2; }
  [ "$(id -u)" -eq 0 ] || not_tested "file systems are mounted by root alone"
  set -- unshare --mount --propagation private --pid --fork --kill-child --mount-proc sh "$0" --inside "$@"
  why=$(unshare --mount --propagation private --pid --fork --kill-child --mount-proc true 2>&1) ||
    not_tested "this machine permits no namespaces: $why"
  exec "$@"
fi
shift
kind=$1
shift

# Where everything is mounted: a short path, which every user may enter, and which hides no program.
for base in /mnt /media /srv /opt; do
  case " $0 $*" in
    *" $base/"*) ;;
    *) [ ! -d $base ] || break ;;
  esac
done
mount -t tmpfs -o size=1g,mode=755 tmpfs "$base" 2>/dev/null || not_tested "this machine permits no mounts"
place=$base/place
mkdir "$place"

program() {  # <name>: its path
  name=$1
  shift
  for path; do
    case $path in */"$name") echo "$path"; return ;; esac
  done
  return 1
}

on_loop() {  # <size> <mkfs> <options...>
  size=$1
  command -v "$2" >/dev/null || not_tested "no $2 here (sh cmake/bootstrap.sh --ci installs it)"
  shift
  truncate -s "$size" "$base/image"
  why=$("$@" "$base/image" 2>&1) || not_tested "$1 has failed: $why"
  why=$(mount -t "$kind" -o loop "$base/image" "$place" 2>&1) || not_tested "this machine mounts no $kind: $why"
}

on_fuse() {  # <what is to go wrong, as test_file_system.cpp lists it> <programs...>
  echo "$1" >"$base/faults"
  shift
  file_system=$(program test_file_system "$@") ||
    not_tested "the FUSE file system was not built: libfuse 3 is missing (sh cmake/bootstrap.sh --ci installs it)"
  [ -c /dev/fuse ] || not_tested "there is no /dev/fuse"
  mkdir "$base/server"
  mount -t tmpfs -o size=64m,mode=1777 tmpfs "$base/server"
  mount_fuse "$place"
}
mount_fuse() {
  why=$("$file_system" "$base/server" "$base/faults" "$1" -o allow_other,default_permissions 2>&1) ||
    not_tested "this machine mounts no FUSE file system: $why"
}

case $kind in
  ext4) on_loop 64m mkfs.ext4 -q ;;
  xfs) on_loop 300m mkfs.xfs -q ;;
  btrfs) on_loop 128m mkfs.btrfs -q ;;
  tmpfs) mount -t tmpfs -o size=64m tmpfs "$place" || not_tested "this machine mounts no tmpfs" ;;
  overlayfs)
    mkdir "$base/layers"
    mount -t tmpfs -o size=64m tmpfs "$base/layers"
    mkdir "$base/layers/lower" "$base/layers/upper" "$base/layers/work"
    why=$(mount -t overlay -o "lowerdir=$base/layers/lower,upperdir=$base/layers/upper,workdir=$base/layers/work" \
      overlay "$place" 2>&1) ||
      not_tested "this machine mounts no overlayfs: $why" ;;
  fuse) on_fuse '' "$@" ;;
  fuse_plain) on_fuse plain "$@" ;;
  fuse_without_fifos)
    on_fuse 'plain
no_fifos' "$@" ;;
  fuse_lost_replies) on_fuse 'rename lost 110 */7' "$@" ;;
  fuse_two_mounts)
    on_fuse '' "$@"
    mkdir "$base/other"
    mount_fuse "$base/other" ;;
  *) echo "no such file system: $kind" >&2; exit 2 ;;
esac
chmod 1777 "$place"

TMPDIR=$place
export TMPDIR
rounds=${HOLDFAST_FILE_SYSTEM_ROUNDS:-1}
export HOLDFAST_CHURN_SECONDS="$rounds"
status=0
seconds_now() { cut -d. -f1 /proc/uptime; }

run() {  # <program> <tests> <programs...>: what GoogleTest calls a filter; - begins those that are left out
  name=$1
  tests=$2
  shift 2
  path=$(program "$name" "$@") || { echo "no program $name" >&2; exit 2; }
  start=$(seconds_now)
  times=$rounds
  [ "$name" != kill_churn_test ] || times=1  # it is longer instead
  "$path" --gtest_filter="$tests" --gtest_repeat="$times" --gtest_break_on_failure=0 >"$base/output" 2>&1
  code=$?
  ran=$(grep -c '^\[       OK ' "$base/output")
  skipped=$(grep -c 'NOT TESTED' "$base/output")
  echo "$kind, $name: $ran passed, $skipped not tested, exit code $code, $(($(seconds_now) - start)) s"
  grep 'NOT TESTED' "$base/output" | sort | uniq -c
  if [ $code -ne 0 ] || [ "$ran" -eq 0 ]; then
    cat "$base/output"
    status=1
  fi
}

# Without the harness, whose directories must be empty at the end: everybody counts, nobody is lost, all come to an end.
increments() {  # <how many by each> <directory of each worker...>
  each=$1
  shift
  echo 0 >"$base/counter"
  chmod 666 "$base/counter"
  start=$(seconds_now)
  workers=
  for directory; do
    echo | timeout 100 "$worker" increment "$directory/x" fair "$base/counter" "$each" >>"$base/output" 2>&1 &
    workers="$workers $!"
  done
  for pid in $workers; do
    wait "$pid" || { echo "$kind: a worker has failed"; cat "$base/output"; status=1; }
  done
  counted=$(cat "$base/counter")
  echo "$kind: $counted of $((each * $#)) increments by $# processes, $(($(seconds_now) - start)) s"
  [ "$counted" -eq $((each * $#)) ] || status=1
}
# Used once more, the lock is swept of what the dead left.
sweep_up() { timeout 100 "$worker" under -- try_once "$place/x" fair lock >>"$base/output" 2>&1 </dev/null || status=1; }

attempt() { timeout 100 "$worker" under -- try_once "$place/$1" fair lock 2>&1 </dev/null | tr '\n' ' '; }
# No space left: who comes is told so, or gets the lock; who has it can release it; with room, all is as before.
full_disk() {
  mkdir -m 777 "$place/full"
  mkfifo "$base/release"
  : >"$base/held"  # what runs in the background may be late to make it
  timeout 100 "$worker" under -- hold "$place/full/x" fair <"$base/release" >"$base/held" 2>&1 &
  owner=$!
  exec 3>"$base/release"
  tail -f --pid=$owner "$base/held" | grep -q -m1 '^locked' || status=1
  cat /dev/zero >"$place/full/filling" 2>/dev/null
  newcomer=$(attempt full/y)
  case $newcomer in
    'locked unlocked '*|*'No space left on device'*) ;;
    *) status=1 ;;
  esac
  echo >&3
  wait $owner || status=1
  released=$(tail -n 1 "$base/held")
  rm "$place/full/filling"
  afterwards="$(attempt full/x)$(attempt full/y)"
  echo "$kind, full disk: a newcomer: $newcomer; the owner: $released; with room again: $afterwards"
  [ "$released $afterwards" = 'unlocked locked unlocked locked unlocked ' ] || status=1
  rmdir "$place/full" || { ls -lA "$place/full"; status=1; }
}

# Not what brings its own file system along, what measures for seconds, and what lacks something on purpose.
own='*FileLockNoInodes*:*FileLockFullDisk*:*FileLockOverlay*:*SeveralKernels*:*AFullTmpfs*:*/tmpfs'
long='*FileLockAcrossNamespaces*:*PoorSystem*:*FileLockExhaustion.Wait*:*ThousandCycles*:*ThousandsOfMeaningless*'
long=$long:'*Deceive*:*DeadlineNorBurns*:*ThatIsNoChannel*:*ALiveOwnerThatHasClosed*'
churn='*UnderAHostileSchedule/*:*AtFullSpeed/file_lock:*WhileTheirThreadsLock/file_lock:*WhereTheLockIsOftenFree/*mixed'
if [ "$rounds" != 1 ]; then
  long=-
  churn='*KillChurn.*'
fi
# A file system that is mounted by one kernel only is known by its type. One that goes by paths is limited to their length.
fuse='*FileLockOfOneKernel*:*DeeperThanAPathCanBeLong*'
worker=$(program os_failure_worker "$@") || exit 2
case $kind in
  fuse_lost_replies)
    increments $((rounds * 25)) "$place" "$place" "$place" "$place"
    : >"$base/none"
    mv "$base/none" "$base/faults"
    sweep_up ;;
  fuse_two_mounts)
    increments $((rounds * 10)) "$place" "$base/other" "$place" "$base/other" ;;
  fuse_plain)  # no FileLockStranger: an empty directory is replaced, as docs/platforms.md says
    run conformance_test "*FileLock*-$own:$fuse" "$@"
    run exclusion_test '*FileLock*' "$@"
    run crash_recovery_test '*' "$@"
    run kill_churn_test '*AtFullSpeed/file_lock' "$@" ;;
  fuse_without_fifos)
    run exclusion_test 'FileLockOrder.*:*FileLockContention.TenSimultaneous*:*FileLockContention.Hostile*' "$@"
    run crash_recovery_test '*' "$@"
    run kill_churn_test '*AtFullSpeed/file_lock' "$@" ;;
  *)
    case $kind in fuse) own=$own:$fuse ;; esac
    run conformance_test "*FileLock*-$own" "$@"
    run exclusion_test '*FileLock*' "$@"
    run crash_recovery_test '*' "$@"
    run fork_and_exec_test '*FileLock*' "$@"
    run file_lock_failures_tests "*-$own:$long" "$@"
    run kill_churn_test "$churn" "$@"
    full_disk ;;
esac

left=$(find "$place" -mindepth 1 -maxdepth 1 ! -name lost+found)
if [ -n "$left" ]; then
  echo "$kind: left behind: $left"
  status=1
fi
exit $status
