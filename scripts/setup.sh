#!/usr/bin/env bash
# Installs what limpid is built and tested with, from Debian 12's packages.
#   scripts/setup.sh            install what is missing (as root, or through sudo); says nothing when all is there
#   scripts/setup.sh --check    list what is missing and exit with status 1 if something is
set -euo pipefail

# The one list of packages; cmake/dependencies.cmake names the same ones where cmake misses them.
packages=(
  g++ cmake ninja-build pkg-config git            # to build
  libfmt-dev libcli11-dev libtomlplusplus-dev     # text, command lines, recipes
  nlohmann-json3-dev libsimdjson-dev              # JSON written, JSON read
  libhdf5-dev libssl-dev zlib1g-dev libzstd-dev   # checkpoints, SHA-256, .gz, .zst
  libsentencepiece-dev                            # tokenizers
  libdnnl-dev ocl-icd-opencl-dev                  # matrix products (oneDNN, and what its cmake file asks for)
  libgloo-dev                                     # ranks that are processes
  libgtest-dev libgmock-dev libboost-context-dev  # tests, and fibers for the CUDA kernels in them
)

fail() {
  echo "setup: $*" >&2
  exit 1
}

missing_packages() {
  local installed
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null || true)
  local package
  for package in "${packages[@]}"; do
    grep -qxF "$package installed" <<<"$installed" || echo "$package"
  done
}

# Runs apt-get as root; its output goes to $log.
apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
    apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
}

check=no
case "${1:-}" in
  "") ;;
  --check) check=yes ;;
  *) fail "unknown argument '$1'; there is --check, or nothing" ;;
esac
command -v dpkg-query >/dev/null ||
  fail "this machine has no dpkg: install the equivalents of these Debian packages by hand, then run cmake: ${packages[*]}"

mapfile -t missing < <(missing_packages)
[ ${#missing[@]} -gt 0 ] || exit 0
if [ $check = yes ]; then
  printf '%s\n' "${missing[@]}"
  exit 1
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
  by_hand="as root: apt-get install ${missing[*]}"
  command -v sudo >/dev/null || fail "packages are missing, and this is neither root nor a machine with sudo; $by_hand"
  as_root=(sudo)
  [ -t 0 ] || as_root=(sudo -n)
  "${as_root[@]}" true || fail "packages are missing, and sudo gives no root; $by_hand"
fi

log=$(mktemp "${TMPDIR:-/tmp}/limpid-setup-XXXXXX.log")
tell_log() {
  tail -n 15 "$log" >&2
  fail "$* (all of it: $log)"
}
echo "setup: installing ${missing[*]}"
apt_get -o APT::Update::Error-Mode=any update ||
  tell_log "apt-get update failed; is there a network, and do the lines of /etc/apt/sources.list answer?"
apt_get install --no-install-recommends "${missing[@]}" || tell_log "apt-get install failed"
mapfile -t missing < <(missing_packages)
[ ${#missing[@]} -eq 0 ] || tell_log "still missing after the installation: ${missing[*]}"
rm -f "$log"
echo "setup: done"
