#!/usr/bin/env bash
# Set-up, build and all tests: first the optimised build, then what the CUDA build adds to it (where there is a toolkit),
# then the fast tests again under AddressSanitizer and UndefinedBehaviorSanitizer. Exits with a status other than 0 if
# anything fails.
#   ./test.sh [release | cuda | sanitized]     one part only
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

part=${1:-all}
case "$part" in
  all | release | cuda | sanitized) ;;
  *) echo "test: unknown argument '$part'; there is release, cuda, sanitized, or nothing for all" >&2 && exit 2 ;;
esac
jobs=$(nproc)
summary=()

# run NAME COMMAND...: prints the name, runs the command, notes how long it took.
run() {
  local name=$1 started=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@" </dev/null; then
    summary+=("$(printf '%-28s ok      %4d s' "$name" $((SECONDS - started)))")
  else
    summary+=("$(printf '%-28s FAILED  %4d s' "$name" $((SECONDS - started)))")
    failed=yes
    return 1
  fi
}
failed=no
finish() {
  printf '\n== test.sh\n'
  printf '%s\n' "${summary[@]}"
  if [ $failed = yes ]; then echo "FAILED"; else echo "all passed in $SECONDS s"; fi
}

# configure, build, test; what fails ends this part, and the others still run.
half() {
  local preset=$1
  shift
  run "configure $preset" cmake --preset "$preset" &&
    run "build $preset" cmake --build --preset "$preset" -j "$jobs" &&
    run "test $preset" ctest --preset "$preset" -j "$jobs" "$@"
}
release() {
  half cpu && run "examples of the documents" scripts/check_docs.sh
  # How many CUDA kernels the emulator executed.
  mapfile -t -O ${#summary[@]} summary < <(grep -ah '^CUDA: .* kernels ran' build/cpu/Testing/Temporary/LastTest.log)
}
sanitized() { half debug -LE slow; }
# The programs and gpu_test only: the other tests ran above, and without a GPU they would run the same code here. Objects
# of .cc files are the same as in preset cpu, and ccache has them.
cuda() {
  if ! command -v nvcc >/dev/null; then
    echo && echo "== no CUDA toolkit: the CUDA build is skipped"
    summary+=("no CUDA toolkit: the CUDA build is skipped")
    return
  fi
  run "configure cuda" cmake --preset cuda &&
    run "build cuda" cmake --build --preset cuda -j "$jobs" --target limpid_programs gpu_test &&
    run "test cuda" ctest --preset cuda -L '^(cuda|gpu)$'
}

if run "set-up" scripts/setup.sh; then
  for each in release cuda sanitized; do
    [ "$part" != all ] && [ "$part" != $each ] || $each || true
  done
fi
finish
[ $failed = no ]
