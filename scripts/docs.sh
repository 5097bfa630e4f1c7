#!/usr/bin/env bash
# Runs experiments at their smallest scale (those on the theory, or those named) and puts report, figures and verdict into
# docs/. fmnist-mlp, cifar10-cnn, cifar10-resnet18 and cifar100-vgg11 find their data in $JOSTLE_DATA.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

jostle="${CARGO_TARGET_DIR:-target}/release/jostle"
names=("$@")
[[ ${#names[@]} -gt 0 ]] || names=(l1 group-l1 nuclear convergence width smoothed-loss)

for name in "${names[@]}"; do
    out="runs/docs/$name"
    "$jostle" experiment "$name" --out "$out" --overwrite
    mkdir -p "docs/$name"
    cp "$out"/*.svg "$out/verdict.json" "docs/$name/"
    { cat "$out/report.md"; printf '\nRun on %s, commit %s.\n' "$(date +%F)" "$(git rev-parse --short HEAD)"; } \
        >"docs/$name/README.md"
done
