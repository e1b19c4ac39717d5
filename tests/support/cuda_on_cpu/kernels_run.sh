#!/usr/bin/env bash
# Runs a test program's CUDA cases under the emulator and says which kernels of the sources ran.
#   kernels_run.sh PROGRAM SOURCE...
# Exits with status 1 where a case fails or a kernel never ran.
set -euo pipefail
program=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
LIMPID_KERNELS_RUN=$folder/run "$program" --gtest_filter='*cuda*' --gtest_brief=1 >"$folder/log" 2>&1 ||
  { tail -40 "$folder/log"; exit 1; }
# Name of a kernel and, behind it, one instantiation, for each that ran; a program that is not
# position-independent begins at its first segment, not at 0.
nm -C "$program" | awk '{at = $1; sub(/^0+/, "", at); $1 = $2 = ""; print at "\t" $0}' | sort >"$folder/symbols"
base=$(readelf -lW "$program" | awk '$1 == "LOAD" {print $3; exit}')
while read -r offset; do printf '%x\n' $((16#$offset + base)); done <"$folder/run" | sort -u >"$folder/at"
join -t "$(printf '\t')" "$folder/at" "$folder/symbols" | cut -f2 >"$folder/ran"
grep -hoE '[a-z0-9_]+_kernel[<(]' "$folder/ran" | tr -d '<(' | sort -u >"$folder/names"
perl -0777 -ne 'while (/__global__\s+void\s+(?:__launch_bounds__\([^;{]*?\)\s+)?([a-z0-9_]+)\s*\(/gs) {print "$1\n"}' "$@" |
  sort -u >"$folder/all"
never=$(comm -23 "$folder/all" "$folder/names")
if [ -n "$never" ]; then
  echo "CUDA kernels that never ran under the emulator:" $never
  exit 1
fi
echo "CUDA: $(wc -l <"$folder/all") kernels ran under the emulator, in $(wc -l <"$folder/ran") instantiations"
