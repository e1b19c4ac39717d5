#!/usr/bin/env bash
# Set-up, build and all tests: first the optimised build, then the fast tests again under AddressSanitizer and
# UndefinedBehaviorSanitizer. Exits with a status other than 0 if anything fails.
#   ./test.sh [release | sanitized]     one half only
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

part=${1:-all}
case "$part" in
  all | release | sanitized) ;;
  *) echo "test: unknown argument '$part'; there is release, sanitized, or nothing for both" >&2 && exit 2 ;;
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

# configure, build, test; what fails ends this half, and the other one still runs.
half() {
  local preset=$1
  shift
  run "configure $preset" cmake --preset "$preset" &&
    run "build $preset" cmake --build --preset "$preset" -j "$jobs" &&
    run "test $preset" ctest --preset "$preset" -j "$jobs" "$@"
}
release() { half cpu && run "examples of the documents" scripts/check_docs.sh; }
sanitized() { half debug -LE slow; }

if run "set-up" scripts/setup.sh; then
  [ "$part" = sanitized ] || release || true
  [ "$part" = release ] || sanitized || true
fi
finish
[ $failed = no ]
