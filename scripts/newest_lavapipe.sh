#!/usr/bin/env bash
# Runs tests on the newest lavapipe that Debian has, which knows cooperative matrices (Mesa 26.2: 8 x 8, f16 operands) where
# that of Debian 12 (Mesa 22.3) does not:
#
#   scripts/newest_lavapipe.sh [TEST...]      # names of files in tests/; without any: matmul conv cooperative
#   scripts/newest_lavapipe.sh --jostle ARGUMENT...      # the program, such as: --jostle bench --matmul 1024
#
# The driver and all that it needs is put into a folder of its own (LAVAPIPE_ROOT, target/lavapipe without it; about 1 GB),
# nothing is installed in the system. Needs root, for chroot, and debootstrap. Tests that read files do not find them there.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

root="${LAVAPIPE_ROOT:-target/lavapipe}"
icd=/usr/share/vulkan/icd.d/lvp_icd.json

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

[[ $(id -u) -eq 0 ]] || die "chroot needs root: run this script as root"
if [[ ! -e $root$icd ]]; then
    command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
    debootstrap --variant=minbase --include=mesa-vulkan-drivers,libvulkan1 sid "$root"
fi

within() {
    local program="$1" name
    shift
    name="$(basename -- "$program")"
    cp -- "$program" "$root/tmp/$name"
    chroot "$root" env VK_DRIVER_FILES="$icd" "/tmp/$name" "$@"
    rm -- "$root/tmp/$name"
}

if [[ ${1:-} == --jostle ]]; then
    cargo build --release
    within "${CARGO_TARGET_DIR:-target}/release/jostle" "${@:2}"
    exit
fi

tests=("$@")
[[ ${#tests[@]} -gt 0 ]] || tests=(matmul conv cooperative)
for test in "${tests[@]}"; do
    program="$(cargo test --no-run --test "$test" 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')"
    [[ -x $program ]] || die "cargo test --no-run --test $test built no program"
    within "$program" --nocapture
done
