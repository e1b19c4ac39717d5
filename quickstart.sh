#!/usr/bin/env bash
# From text to a language model that talks, on this machine's CPU: set-up, build, tokenizer, tokens, training with
# checkpoints, held-out perplexity, a sample.
#   ./quickstart.sh [files or folders...]    trains on these; with none, on the English and C++ that this machine has
# Started again with the same texts it goes on where it was, and repeats nothing that is done.
set -euo pipefail

home=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
recipe=$home/recipes/quickstart.toml
bin=$home/build/cpu/bin

say() { printf '\n== %s\n' "$*"; }
fail() {
  echo "quickstart: $*" >&2
  exit 1
}

# One folder under quickstart-run/ for each set of inputs, known by their paths, sizes and dates, and by the recipe.
run_folder() {
  local name=this-machine key
  [ $# -eq 0 ] || name=$(basename "$1" | tr -c 'A-Za-z0-9._\n-' '_')
  key=$({
    [ $# -eq 0 ] || find -L "$@" -type f -printf '%p %s %T@\n' | LC_ALL=C sort
    cat "$recipe"
  } | sha256sum)
  echo "$home/quickstart-run/$name-${key:0:8}"
}

build() {
  local log=$home/build/quickstart-configure.log
  mkdir -p "$home/build"
  cd "$home"
  [ -f build/cpu/build.ninja ] || cmake --preset cpu >"$log" 2>&1 || { cat "$log" >&2 && fail "cmake failed"; }
  cmake --build --preset cpu --target limpid-tokenize limpid-train limpid-eval limpid-generate limpid-checkpoint
}

inputs=()
for input in "$@"; do
  case $input in -h | --help) sed -n '2,/^set/{/^# /s/^# //p}' "${BASH_SOURCE[0]}" && exit ;; esac
  [ -r "$input" ] || fail "cannot read '$input'; name text files or folders (.txt, .jsonl, .gz, .zst ...)"
  inputs+=("$(readlink -f -- "$input")")
done

say "set-up"
"$home/scripts/setup.sh"

say "build"
build

folder=$(run_folder "${inputs[@]}")
mkdir -p "$folder"
cd "$folder" || fail "cannot write into $folder"
say "text -> $folder"
if [ ${#inputs[@]} -eq 0 ]; then
  [ -d text ] || "$home/scripts/collect_text.sh" text
  inputs=(text)
fi
printf '%s\n' "${inputs[@]}"

# Many files: a document each. A few: what stands between empty lines, so that some can be held out.
split=files
[ "$(find -L "${inputs[@]}" -type f | head -n 50 | wc -l)" -ge 50 ] || split=paragraphs

say "tokenizer"
if [ -f tok.model ]; then
  echo "tok.model is there already"
else
  "$bin/limpid-tokenize" train "${inputs[@]}" -o tok.model --vocab-size 4096 --shrink-to-fit --skip-bad
fi

say "tokens"
if [ -f tokens-train.h5 ] && [ -f tokens-validation.h5 ]; then
  echo "tokens-train.h5 and tokens-validation.h5 are there already"
else
  "$bin/limpid-tokenize" encode "${inputs[@]}" --tokenizer tok.model --split $split --skip-bad \
    --validation 0.02 -o tokens --force
fi

say "training (interrupt it when you like: the same command goes on)"
"$bin/limpid-train" "$recipe"

say "held-out perplexity"
"$bin/limpid-eval" run tokens-validation.h5

say "a sample"
"$bin/limpid-generate" run --max-tokens 200

cat <<END

== where everything is
$folder
  tok.model              the tokenizer (SentencePiece)
  tokens-train.h5        what it learned from
  tokens-validation.h5   what it has not seen
  run/journal.jsonl      one line a step: loss, learning rate, fingerprint of the parameters ...
  run/tb                 the same for TensorBoard
  run/checkpoints        $(ls run/checkpoints | tr '\n' ' ')
Go on:
  cd "$folder"
  "$bin/limpid-generate" run --prompt "The "
  "$bin/limpid-train" "$recipe" --set train.steps=2000
  "$bin/limpid-checkpoint" list run
END
