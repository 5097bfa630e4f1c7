#!/usr/bin/env bash
# Runs the fuzz targets, or those named, for FUZZ_SECONDS each (default 600), one after the other. What they find new goes
# to fuzz/target/found/NAME, what breaks a reader to fuzz/artifacts/NAME; `scripts/fuzz.sh --keep [NAME ...]` puts the least
# files that reach all that those reach into the committed corpus.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../fuzz"

command -v cargo-fuzz >/dev/null || {
    echo 'cargo-fuzz is missing: cargo install cargo-fuzz --locked' >&2
    exit 1
}
keep=false
if [[ ${1:-} == --keep ]]; then
    keep=true
    shift
fi
names=("$@")
[[ ${#names[@]} -gt 0 ]] || mapfile -t names < <(cargo +nightly fuzz list)

for name in "${names[@]}"; do
    found="$PWD/target/found/$name" corpus="$PWD/corpus/$name"
    mkdir -p "$found" "$corpus"
    if $keep; then
        rm -rf "$PWD/target/least"
        mkdir "$PWD/target/least"
        cargo +nightly fuzz run "$name" "$PWD/target/least" "$corpus" "$found" -- -set_cover_merge=1 -use_counters=0 -max_len=8192
        cp "$PWD/target/least"/* "$corpus/"
    else
        cargo +nightly fuzz run "$name" "$found" "$corpus" -- -max_total_time="${FUZZ_SECONDS:-600}" -max_len=8192 \
            -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 -dict="$PWD/dictionaries/$name.dict" -print_final_stats=1
    fi
done
