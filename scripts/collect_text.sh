#!/usr/bin/env bash
# Collects the English and C++ that a Debian machine has: licences, documentation, headers.
#   scripts/collect_text.sh FOLDER     makes FOLDER, which appears whole or not at all: copies, as /english and /cxx
# The same machine gives the same files.
set -euo pipefail
export LC_ALL=C

folder=${1:?collect_text: name the folder to make}
limit_bytes=$((8 << 20)) # of each of the two

# Lines "bytes path" in an order that mixes all folders, always the same one.
mix() { sort -k2 | shuf --random-source=<(yes); }

# The paths of such lines, until the limit is reached.
take() { awk -v left=$limit_bytes '{ left -= $1; if (left >= 0) { sub(/^[0-9]+ /, ""); print } }'; }

# copy NAME: copies the paths it reads to $work/NAME, in the same folders as where they lie. Only whole UTF-8 texts.
copy() {
  local target=$work/$1
  mkdir -p "$target"
  { xargs -r -d '\n' cp --parents --no-preserve=all -t "$target" 2>/dev/null || true; }
  find "$target" -type f -print0 | while IFS= read -r -d '' path; do
    case $path in *.gz) gzip -dc "$path" ;; *) cat "$path" ;; esac 2>/dev/null |
      iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 || rm -f "$path"
  done
}

work=$(mktemp -d "${folder%/}.tmp-XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

{
  find /usr/share/common-licenses -type f -printf '%s %p\n' | mix
  find /usr/share/doc -type f -size +1k -size -200k \( -name copyright -o -name '*.txt' -o -name 'README*' \
    -o -name 'NEWS*' -o -name 'FAQ*' -o -name 'HACKING*' -o -name 'CONTRIBUTING*' -o -name '*.md' \) -printf '%s %p\n' | mix
} | take | copy english

find /usr/include -type f -size +1k -size -200k \( -path '*/c++/*' -o -name '*.h' -o -name '*.hpp' \
  -o -name '*.hh' -o -name '*.tcc' -o -name '*.ipp' \) -printf '%s %p\n' | mix | take | copy cxx

rm -rf "$folder"
mv "$work" "$folder"
trap - EXIT
