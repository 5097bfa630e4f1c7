#!/usr/bin/env bash
# Builds what scripts/gpu.sh needs on a machine with neither a compiler nor a network, and leaves it in gpu-bundle/, which
# git ignores: program and tests without debug information, packed, what the tests read, the peers' scripts, a Vulkan loader.
#
#   scripts/gpu_bundle.sh [--data DIR]     # DIR: a folder of data, Fashion-MNIST's four files say, that goes along
#   bash gpu-bundle/gpu.sh --budget 420    # there, wherever gpu-bundle/ was copied to
#
# The machine there needs this one's processor and a C library no older than this one's.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

limit_mib=48
meganeura="benches/peers/meganeura"
bundle="gpu-bundle"
# The first three are what NVIDIA's driver needs for Vulkan; the others it may open.
loaders=(libvulkan1 libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2)

die() {
    printf 'gpu_bundle.sh: %s\n' "$@" >&2
    exit 1
}

data=""
if [[ ${1:-} == --data ]]; then
    data="${2:?}" && shift 2
fi
[[ $# -eq 0 ]] || die "the only option is --data DIR"
[[ -z $data || -d $data ]] || die "there is no folder $data"

target="${CARGO_TARGET_DIR:-target}"
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"

# Debian's packages, unpacked into $1 and kept there for the next time; without apt the machine there has to have a loader.
fetch_loaders() {
    local folder="$1" lists
    [[ ! -e $folder/done ]] || return 0
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
    rm -rf -- "$folder" && mkdir -p "$folder/debs" "$folder/lists/partial"
    folder="$(cd -- "$folder" && pwd)"
    lists=(-o "Dir::State::Lists=$folder/lists")
    (
        cd -- "$folder/debs"
        apt-get download -q "${loaders[@]}" >/dev/null 2>&1 ||
            { apt-get "${lists[@]}" update -q && apt-get "${lists[@]}" download -q "${loaders[@]}"; } >/dev/null 2>&1
    ) || return 1
    for package in "$folder"/debs/*.deb; do
        dpkg -x "$package" "$folder/unpacked"
    done
    rm -rf -- "$folder/lists"
    touch "$folder/done"
}

cargo build --release
built="$(cargo test --no-run --test suite 2>&1)" || die "the tests do not build" "$built"
suite="$(sed -n 's/.*Executable .*(\(.*\))$/\1/p' <<<"$built" | tail -n 1)"
[[ -x $suite ]] || die "cargo names no program of the tests:" "$built"

part="$bundle.part"
rm -rf -- "$part"
mkdir -p "$part"/{bin,peers,lib}
strip -o "$part/bin/jostle" "$target/release/jostle"
strip -o "$part/bin/suite" "$suite"
cp scripts/gpu.sh "$part/"
cp benches/peers/torch_step.py benches/peers/torch_models.py "$part/peers/"
cp -r benches/peers/models "$part/peers/"
if cargo build --release --manifest-path "$meganeura/Cargo.toml"; then
    cp "${CARGO_TARGET_DIR:-$meganeura/target}/release/jostle-peer-meganeura" "$part/bin/"
else
    printf 'gpu_bundle.sh: Meganeura does not go along: it could not be built\n'
fi
gzip -n "$part"/bin/* # to a third; gpu.sh unpacks them
cp -r assets shaders "$part/"
rm -rf -- "$part/assets/figures"
if fetch_loaders "$target/loaders"; then
    cp -P "$target"/loaders/unpacked/usr/lib/*/lib*.so* "$part/lib/"
else
    printf 'gpu_bundle.sh: no Vulkan loader goes along: %s could not be fetched\n' "${loaders[*]}"
fi
if [[ -n $data ]]; then
    cp -rL -- "$data" "$part/data"
    chmod -R u+w -- "$part/data"
fi
rm -rf -- "$bundle"
mv -- "$part" "$bundle"

size="$(du -sk -- "$bundle" | cut -f 1)"
printf '%s: %s.%s MiB\n' "$bundle" $((size / 1024)) $((size % 1024 * 10 / 1024))
[[ $size -le $((limit_mib * 1024)) ]] || die "that is more than $limit_mib MiB"
