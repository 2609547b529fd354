#!/bin/sh
# check_model.sh <model> <directory> <expected> <settings...>: explores every state of the model, and judges the result.
#   <directory>  made anew, for what spin and the compiler write
#   <expected>   holds: no error, and nothing left unexplored. bounded: no error in a minute's search that knows states by two
#                bits each, for what is too large to be searched in full. Else what has to be violated: the name of a
#                property, or "wedge" for a state in which processes wait that nobody can wake
#   <settings>   -D... as the head of the model lists them
# 0: as expected. 1: not so. 2: it could not be checked.
set -eu
LC_ALL=C
export LC_ALL

[ $# -ge 3 ] || { sed -n '2,7s/^# //p' "$0" >&2; exit 2; }
model=$1
directory=$2
expected=$3
shift 3

complain() { echo "check_model: $*" >&2; exit 2; }
case $model in /*) ;; *) model=$PWD/$model ;; esac
[ -r "$model" ] || complain "no such model: $model"
command -v spin >/dev/null 2>&1 ||
  complain "spin is missing: sh cmake/bootstrap.sh installs it where the system has a package; else see spinroot.com"
compiler=
for candidate in cc gcc clang; do
  if command -v $candidate >/dev/null 2>&1; then compiler=$candidate; break; fi
done
[ -n "$compiler" ] || complain "a C compiler (cc, gcc or clang) is missing: sh cmake/bootstrap.sh installs one"

rm -rf "$directory"
mkdir -p "$directory"
cd "$directory"
finish() { rm -f pan pan.[bchmpt] pan.pre _spin_nvr.tmp; }  # half a megabyte each; the trail of an error stays
trap finish EXIT
trap 'exit 2' INT TERM

spin "$@" -a "$model" >spin.out 2>&1 || { cat spin.out >&2; complain "spin does not accept the model"; }
optimize=-O2
memory=-DCOLLAPSE
bounds=
case $expected in
  holds) ;;
  bounded) memory=-DBITSTATE bounds='-w31 -Q1' ;;  # 2^31 bits; one minute
  *) optimize=-O0 ;;  # an error is found in less time than the compiler would need
esac
"$compiler" $optimize -w -DSAFETY $memory -DVECTORSZ=2048 -o pan pan.c 2>compiler.out ||
  { cat compiler.out >&2; complain "$compiler does not compile what spin has made"; }
status=0
# shellcheck disable=SC2086
./pan -m1000000 $bounds >pan.out 2>&1 || status=$?
cat pan.out
times >times.out
echo "processor time, with the compiler's: $(sed -n '2s/ .*//p' times.out)"

# pan's exit code is 0 even where it has found an error, or has stopped half-way.
says() { grep -q -e "$1" pan.out; }
says '^State-vector .* errors: [0-9]' || complain "pan has not come to an end (exit code $status)"

if [ "$expected" = bounded ]; then
  says ', errors: 0$' || { echo "check_model: FAILED, see above; spin -t -p -g replays the trail in $directory"; exit 1; }
  echo "check_model: no error in $(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.out) states; there may be more"
elif [ "$expected" = holds ]; then
  says ', errors: 0$' || { echo "check_model: FAILED, see above; spin -t -p -g replays the trail in $directory"; exit 1; }
  for truncated in 'max search depth too small' 'Search not completed' 'out of memory' 'memory limit' 'hash-table full'; do
    if says "$truncated"; then echo "check_model: FAILED, not everything was explored: $truncated"; exit 1; fi
  done
  echo "check_model: holds in every state"
else
  case $expected in
    wedge) message='invalid end state' ;;
    *) message="assertion violated $expected " ;;
  esac
  if says ', errors: 0$'; then echo "check_model: FAILED, the seeded error was not found"; exit 1; fi
  says "^pan:1: $message" || { echo "check_model: FAILED, found something else than $expected"; exit 1; }
  echo "check_model: found, as it should be: $expected"
fi
