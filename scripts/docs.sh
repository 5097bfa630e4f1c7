#!/usr/bin/env bash
# Runs experiments (those on the theory and generalisation, or those named) and puts report, figures and verdict into docs/, and a
# short form of the measurements, which the tests judge again, into assets/measurements/. generalisation and rules run at scale full, the
# others at their smallest. fmnist-mlp, cifar10-cnn, cifar10-resnet18 and cifar100-vgg11 find their data in $JOSTLE_DATA; options after -- go
# to every experiment:
#     scripts/docs.sh generalisation -- --scale small
#     scripts/docs.sh cifar10-resnet18 -- --set train.subset=512 --set train.test-subset=300
# Exits with the worst of the experiments' codes: 5 where a claim fails, 6 where one is undecided; their pages are written.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

jostle="${JOSTLE:-${CARGO_TARGET_DIR:-target}/release/jostle}"
names=()
while [[ $# -gt 0 && $1 != -- ]]; do
    names+=("$1")
    shift
done
[[ ${1:-} != -- ]] || shift
[[ ${#names[@]} -gt 0 ]] || names=(generalisation l1 group-l1 nuclear convergence width attention-width smoothed-loss)

worst=0
for name in "${names[@]}"; do
    out="runs/docs/$name" status=0
    # The smallest of these have three seeds, which decide few of their claims; options given here win.
    scale=()
    case "$name $*" in
        *--scale* | *--full*) ;;
        generalisation* | rules*) scale=(--full) ;;
    esac
    "$jostle" experiment "$name" --out "$out" --overwrite "${scale[@]}" "$@" || status=$?
    [[ $status -eq 0 || $status -eq 5 || $status -eq 6 ]] || exit "$status"
    [[ $worst -eq 5 || $status -eq 0 ]] || worst="$status"
    mkdir -p "docs/$name"
    cp "$out"/*.svg "$out/verdict.json" "docs/$name/"
    { cat "$out/report.md"; printf '\nRun on %s, commit %s.\n' "$(date +%F)" "$(git rev-parse --short HEAD)"; } \
        >"docs/$name/README.md"
    python3 scripts/short_measurements.py "$out/metrics.json" "assets/measurements/$name.json"
done
exit "$worst"
