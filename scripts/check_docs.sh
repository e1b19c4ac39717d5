#!/usr/bin/env bash
# Runs the examples of README.md and docs/ as they are written: every block fenced as sh or python, those of one document in one shell,
# in a new folder that has the repository's files. Blocks fenced otherwise (console, text) are not run.
#   scripts/check_docs.sh [documents...]
set -euo pipefail
home=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
cd "$home"
[ $# -gt 0 ] || set -- README.md docs/*.md

python=
for candidate in python3 /usr/bin/python3; do
  [ -n "$python" ] || ! "$candidate" -c 'import h5py' 2>/dev/null || python=$candidate
done
[ -n "$python" ] || echo "check_docs: no python3-h5py here: python examples are left out"

# The document's examples as one script.
script_of() {
  awk -v python="$python" '
    /^```sh$/ { kind = "sh"; next }
    /^```python$/ && python { kind = "python"; print python " - <<\x27END_OF_EXAMPLE\x27"; next }
    /^```/ { if (kind == "python") print "END_OF_EXAMPLE"; kind = ""; next }
    kind' "$1"
}

failed=no
for document in "$@"; do
  script=$(script_of "$document")
  [ -n "$script" ] || continue
  work=$(mktemp -d "${TMPDIR:-/tmp}/limpid-docs-XXXXXX")
  for entry in *; do
    case $entry in runs | quickstart-run) ;; *) ln -s "$home/$entry" "$work/$entry" ;; esac
  done
  printf '%s\n' "$script" >"$work/.examples.sh"
  if (cd "$work" && bash -eux .examples.sh </dev/null >.output.log 2>&1); then
    echo "$document: every example ran"
  else
    tail -n 30 "$work/.output.log"
    echo "$document: an example failed" >&2
    failed=yes
  fi
  rm -rf "$work"
done
[ $failed = no ]
