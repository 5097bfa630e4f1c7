#!/usr/bin/env bash
# Compares two adapters of this machine: noise draw by draw, and training runs of 50 steps, against the tolerances of
# docs/reproducibility.md.
#
#   scripts/compare_adapters.sh ADAPTER OTHER      # each an index of `jostle adapters` or a part of a name
#   scripts/compare_adapters.sh --swiftshader      # lavapipe and SwiftShader, which Debian's package chromium-common holds
#
# SwiftShader is unpacked into target/swiftshader and not installed.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

fetch_swiftshader() {
    local folder="${CARGO_TARGET_DIR:-target}/swiftshader" package=chromium-common lavapipe
    mkdir -p "$folder"
    folder="$(cd -- "$folder" && pwd)"
    if [[ ! -f $folder/libvk_swiftshader.so ]]; then
        (cd "$folder" && apt-get download "$package" && dpkg -x "$package"_*.deb package &&
            mv package/usr/lib/chromium/{libvk_swiftshader.so,vk_swiftshader_icd.json} . && rm -r -- package "$package"_*.deb) ||
            die "the package $package could not be fetched: apt-get update"
    fi
    lavapipe="$(find /usr/share/vulkan/icd.d -name 'lvp_icd*.json' -print -quit)"
    [[ -n $lavapipe ]] || die "there is no lavapipe here: scripts/setup.sh"
    export VK_DRIVER_FILES="$lavapipe:$folder/vk_swiftshader_icd.json"
}

if [[ ${1:-} == --swiftshader ]]; then
    fetch_swiftshader
    set -- llvmpipe SwiftShader
fi
[[ $# -eq 2 ]] || die "two adapters, please: scripts/compare_adapters.sh ADAPTER OTHER, or --swiftshader"
JOSTLE_ADAPTER="$1" JOSTLE_OTHER_ADAPTER="$2" \
    cargo test --test suite -- gpu::two_adapters --nocapture --test-threads 1
