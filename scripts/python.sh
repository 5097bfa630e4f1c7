#!/usr/bin/env bash
# Builds the wheel of python/jostle into python/jostle/dist, installs it in a virtual environment made anew, runs its tests there and
# executes examples/noise.ipynb. `make python` and .ci/run call it. Exits with 77 where Python or a package cannot be had.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

target="${CARGO_TARGET_DIR:-target}"
mkdir -p "$target/python"
target="$(cd -- "$target" && pwd)"
tools="$target/python/tools" fresh="$target/python/fresh"
dist=python/jostle/dist

skip() {
    printf 'skipped: %s\n' "$*"
    exit 77
}

python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || skip 'no Python of 3.10 or newer here'
if [[ ! -x $tools/bin/maturin ]]; then
    python3 -m venv --clear "$tools" || skip 'python3 makes no virtual environments here: on Debian, apt install python3-venv'
    timeout 300 "$tools/bin/pip" install --quiet 'maturin>=1.9,<2' || skip 'maturin cannot be installed here'
fi

# In the folder of the other release builds, whose dependencies are the same.
rm -rf "$dist"
"$tools/bin/maturin" build --quiet --release --locked --manifest-path python/jostle/Cargo.toml --target-dir "$target" --out "$dist"
wheel=("$dist"/*.whl)
printf 'built %s, %s KiB\n' "${wheel[0]}" "$(($(stat -c %s "${wheel[0]}") / 1024))"

python3 -m venv --clear "$fresh"
timeout 300 "$fresh/bin/pip" install --quiet "${wheel[0]}[test,notebook]" || skip 'NumPy, pytest or nbconvert cannot be installed here'

export PYTHONDONTWRITEBYTECODE=1
# The binary where it is built, else the program of the wheel: the same runs, bit for bit.
[[ -x $target/release/jostle ]] && export JOSTLE_BIN="$target/release/jostle"
(cd python/jostle/tests && "$fresh/bin/python" -m pytest -q -p no:cacheprovider -rs .)

# Executed whole, a cell that raises fails; what is committed stays as it is.
"$fresh/bin/python" -m nbconvert --log-level WARN --to html --execute examples/noise.ipynb --output-dir "$target/python"
printf 'the notebook as executed: %s\n' "$target/python/noise.html"
