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

# shellcheck source=scripts/swiftshader.sh
source scripts/swiftshader.sh

if [[ ${1:-} == --swiftshader ]]; then
    fetch_swiftshader || exit 1
    lavapipe="$(find /usr/share/vulkan/icd.d -name 'lvp_icd*.json' -print -quit)"
    [[ -n $lavapipe ]] || die "there is no lavapipe here: scripts/setup.sh"
    export VK_DRIVER_FILES="$lavapipe:$swiftshader"
    set -- llvmpipe SwiftShader
fi
[[ $# -eq 2 ]] || die "two adapters, please: scripts/compare_adapters.sh ADAPTER OTHER, or --swiftshader"
JOSTLE_ADAPTER="$1" JOSTLE_OTHER_ADAPTER="$2" \
    cargo test --test suite -- gpu::two_adapters --nocapture --test-threads 1
