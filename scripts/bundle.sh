#!/usr/bin/env bash
# Gathers programs and the libraries that they need in one folder, for machines where nothing can be
# installed (nodes of a cluster). Libraries of the system itself (libc, the driver) stay behind.
#   scripts/bundle.sh FOLDER [BUILD] [PROGRAM...]
#   FOLDER is made anew; BUILD: build/cuda; PROGRAM: all of BUILD/bin but the tests
# FOLDER/bin/NAME runs there as it stands; `tar c FOLDER | xz` travels in a fifth of the size. Libraries of CUDA that lie elsewhere there are found through
# LIMPID_CUDA_LIBRARIES, a list of folders as in LD_LIBRARY_PATH.
set -euo pipefail
[ $# -ge 1 ] || { sed -n 2,8p "$0" >&2; exit 2; }
folder=$1
build=${2:-build/cuda}
shift $(($# < 2 ? $# : 2))
[ -d "$build/bin" ] || { echo "bundle: $build/bin is not there: build first" >&2; exit 1; }
programs=("$@")
if [ ${#programs[@]} -eq 0 ]; then
  mapfile -t programs < <(find "$build/bin" -maxdepth 1 -type f -executable -name 'limpid-*' | sort)
fi
[ ${#programs[@]} -gt 0 ] || { echo "bundle: $build/bin has no programs" >&2; exit 1; }

rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/lib"
# Part of every Linux, or of the driver, or of CUDA's own packages.
of_the_system='linux-vdso|ld-linux|/libc\.so|/libm\.so|/libdl\.so|/librt\.so|/libpthread\.so|/libcuda\.so'
of_cuda='/libcublas|/libcublasLt|/libcudnn|/libnccl|/libcudart|/libnvrtc|/libnvJitLink'
for program in "${programs[@]}"; do
  [ -f "$program" ] || { echo "bundle: there is no $program" >&2; exit 1; }
  name=$(basename "$program")
  install -s "$program" "$folder/lib/$name.program"
  ldd "$program" | awk '$3 ~ /^\// {print $3}' | grep -vE "$of_the_system|$of_cuda" |
    while read -r library; do cp -nL "$library" "$folder/lib/"; done || true
  cat >"$folder/bin/$name" <<'RUN'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$here/../lib${LIMPID_CUDA_LIBRARIES:+:$LIMPID_CUDA_LIBRARIES}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$here/../lib/$(basename "$0").program" "$@"
RUN
  chmod +x "$folder/bin/$name"
done
du -sh "$folder" | awk '{print "bundle: " $2 ", " $1}'
