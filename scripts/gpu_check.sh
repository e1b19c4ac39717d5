#!/usr/bin/env bash
# What only a GPU can tell, in under nine minutes: every op and whole models against the CPU and the f64 reference,
# resume to the bit, compute-sanitizer, then the benchmarks, PyTorch's between ours.
#   scripts/gpu_check.sh [FOLDER]
# FOLDER: a bundle (scripts/bundle.sh FOLDER build/cuda), or nothing for build/cuda as it is. All output goes to
# $LIMPID_OUT (gpu-check), a table last. Exits with status 1 where a test fails; a slow figure fails nothing.
set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
folder=${1:-build/cuda}
out=${LIMPID_OUT:-gpu-check}
mkdir -p "$out"
find_program() { find "$folder" -maxdepth 2 -name "$1" -type f -executable -not -path '*/lib/*' | head -1; }
need() {
  local found
  found=$(find_program "$1")
  [ -n "$found" ] || { echo "gpu_check: $folder has no $1: build preset cuda, or make a bundle with it" >&2; exit 2; }
  echo "$found"
}
tests=$(need gpu_test) || exit
kernels=$(need kernels) || exit
train_step=$(need train_step) || exit

# CUDA's libraries, where only Python's packages bring them.
if [ -z "${LIMPID_CUDA_LIBRARIES:-}" ] && command -v python3 >/dev/null; then
  LIMPID_CUDA_LIBRARIES=$(python3 - <<'PY'
import glob, site, sys
roots = site.getsitepackages() + [site.getusersitepackages()] + sys.path
print(":".join(dict.fromkeys(p for r in roots for p in sorted(glob.glob(r + "/nvidia/*/lib")))))
PY
  )
  export LIMPID_CUDA_LIBRARIES
fi
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,power.limit,memory.total --format=csv | tee "$out/gpu.txt"

failed=no
summary=()
# part NAME SECONDS COMMAND...: runs it with a limit; its output goes to $out/NAME.txt.
part() {
  local name=$1 limit=$2 started=$SECONDS status=0
  shift 2
  timeout "$limit" "$@" >"$out/$name.txt" 2>&1 || status=$?
  local took=$((SECONDS - started))
  if [ $status = 0 ]; then
    summary+=("$(printf '%-28s ok      %4d s' "$name" $took)")
  else
    summary+=("$(printf '%-28s FAILED  %4d s (status %d)' "$name" $took $status)")
    tail -15 "$out/$name.txt"
  fi
  return $status
}

part tests 150 "$tests" --gtest_filter="*cuda*:*Cuda*" --gtest_brief=1 || failed=yes
if command -v compute-sanitizer >/dev/null; then
  part sanitizer 90 compute-sanitizer --error-exitcode 9 --tool memcheck "$tests" \
    --gtest_filter='*RmsNorm/cuda*:*CrossEntropy*/cuda*:*Embedding*/cuda*:*Causal/cuda*:*AdamW/cuda*' --gtest_brief=1 || failed=yes
else
  summary+=("sanitizer                    not here")
fi
part kernels 60 "$kernels" --device cuda
torch=bench/peers/torch_gpt.py
python3 -c 'import torch' 2>/dev/null || torch=
for model in gpt2-124m llama-1.3b gpt2-1.5b; do
  [ $SECONDS -lt 450 ] || { summary+=("$model: no time left"); continue; }
  part "limpid-$model" 60 "$train_step" --device cuda --model $model
  [ -z "$torch" ] || part "torch-$model" 120 python3 $torch $model --modes default --steps 20
  [ $SECONDS -lt 480 ] && part "limpid-$model-again" 60 "$train_step" --device cuda --model $model
done

{
  echo "== kernels (of the copy or GEMM rate of the same run)"
  cat "$out/kernels.txt" 2>/dev/null
  echo "== training steps"
  grep -h 'tokens/s\|MFU\|of the plain\|B=' "$out"/limpid-*.txt "$out"/torch-*.txt 2>/dev/null
  echo "== gpu_check"
  printf '%s\n' "${summary[@]}"
} | tee "$out/summary.txt"
[ $failed = no ] && echo "all passed in $SECONDS s" || echo "FAILED"
[ $failed = no ]
