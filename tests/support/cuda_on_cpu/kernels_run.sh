#!/usr/bin/env bash
# Runs the CUDA cases of test programs under the emulator and says which kernels of the sources ran.
#   kernels_run.sh PROGRAM... -- SOURCE...
# Exits with status 1 where a case fails or a kernel never ran.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# names_of PROGRAM: runs its CUDA cases; each kernel that ran, by the name of its instantiation.
names_of() {
  local base
  LIMPID_KERNELS_RUN=$folder/run "$1" --gtest_filter='*cuda*:*Cuda*' --gtest_brief=1 >"$folder/log" 2>&1 ||
    { tail -40 "$folder/log" >&2; return 1; }
  [ -f "$folder/run" ] || return 0
  # A program that is not position-independent begins at its first segment, not at 0.
  base=$(readelf -lW "$1" | awk '$1 == "LOAD" {print $3; exit}')
  while read -r offset; do printf '%x\n' $((16#$offset + base)); done <"$folder/run" | sort -u >"$folder/at"
  rm "$folder/run"
  nm -C "$1" | awk '{at = $1; sub(/^0+/, "", at); $1 = $2 = ""; print at "\t" $0}' | sort >"$folder/symbols"
  join -t "$(printf '\t')" "$folder/at" "$folder/symbols" | cut -f2
}

while [ "$1" != -- ]; do
  names_of "$1" >>"$folder/ran"
  shift
done
shift
sort -u -o "$folder/ran" "$folder/ran"
grep -hoE '[a-z0-9_]+_kernel[<(]' "$folder/ran" | tr -d '<(' | sort -u >"$folder/names"
perl -0777 -ne 'while (/__global__\s+void\s+(?:__launch_bounds__\([^;{]*?\)\s+)?([a-z0-9_]+)\s*\(/gs) {print "$1\n"}' "$@" |
  sort -u >"$folder/all"
never=$(comm -23 "$folder/all" "$folder/names")
if [ -n "$never" ]; then
  echo "CUDA kernels that never ran under the emulator:" $never
  exit 1
fi
echo "CUDA: $(wc -l <"$folder/all") kernels ran under the emulator, in $(wc -l <"$folder/ran") instantiations"
