#!/usr/bin/env bash
# Runs tests on the newest lavapipe that Debian has, which knows cooperative matrices (Mesa 26.2: 8 x 8, f16 operands) where
# that of Debian 12 (Mesa 22.3) does not:
#
#   scripts/newest_lavapipe.sh [FILTER...]    # modules of the suite or parts of names; without any: the products' and
#                                             # convolutions', kernels::{matmul,conv,cooperative}
#   scripts/newest_lavapipe.sh --jostle ARGUMENT...      # the program, such as: --jostle bench --matmul 1024
#
# The driver and all that it needs is put into a folder of its own (LAVAPIPE_ROOT, target/lavapipe without it; about 1 GB),
# nothing is installed in the system. Needs root, for chroot, and debootstrap.
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

target="${CARGO_TARGET_DIR:-target}"
# Where the programs, and the files that tests read, lie as seen from within.
there=/tmp/jostle

within() {
    chroot "$root" env VK_DRIVER_FILES="$icd" JOSTLE_ROOT="$there" JOSTLE_BIN="$there/jostle" "$there/$1" "${@:2}"
}

rm -rf -- "${root:?}$there"
mkdir -p "$root$there"

if [[ ${1:-} == --jostle ]]; then
    cargo build --release
    cp -- "$target/release/jostle" "$root$there/jostle"
    within jostle "${@:2}"
    exit
fi

filters=("$@")
[[ ${#filters[@]} -gt 0 ]] || filters=(kernels::matmul:: kernels::conv:: kernels::conv_endings:: kernels::cooperative::)
suite="$(cargo test --no-run --test suite 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')"
[[ -x $suite ]] || die "cargo test --no-run --test suite built no program"
cp -- "$suite" "$root$there/suite"
cp -r -- "$target/debug/jostle" assets shaders src tests "$root$there"
within suite --nocapture "${filters[@]}"
