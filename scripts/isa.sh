#!/usr/bin/env bash
# Judges every pipeline that a training step takes by the compiler of AMD's GPUs, without one (tests/isa):
#
#   scripts/isa.sh [OPTION...]      # or: make isa ISA_FLAGS=...; options of tests/isa, such as --brief, --update, --json FILE
#
# The compiler is RADV of the Mesa that is installed. Cooperative matrices came with Mesa 25: where the installed one is that of
# Debian 12, the drivers of Debian's backports are fetched and unpacked into target/isa (15 MiB), and not installed.
# Exit status: that of tests/isa, or 77 where the newer drivers cannot be had and nothing failed.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

folder="${CARGO_TARGET_DIR:-target}/isa"
suite=bookworm-backports
packages=(mesa-vulkan-drivers libdrm2 libdrm-amdgpu1) # the latter two newer than what Debian 12 has
time_limit=120                                       # seconds of a download
newer="$folder/radv.json"

say() { printf 'isa: %s\n' "$*"; }

# Whether the system is the one that the backports are for.
is_debian_12() { grep -qs '^VERSION_CODENAME=bookworm$' /etc/os-release; }

# Fetches and unpacks the newer drivers where they are not there yet; sets `why` where they cannot be had.
fetch_newer() {
    [[ ! -f $newer ]] || return 0
    local command work
    for command in apt-get dpkg-deb; do
        command -v "$command" >/dev/null || { why="there is no $command here" && return; }
    done
    rm -rf -- "${folder:?}"
    mkdir -p "$folder"
    folder="$(cd -- "$folder" && pwd)" work="$folder/apt"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/packages"
    printf 'deb http://deb.debian.org/debian %s main\n' "$suite" >"$work/sources.list"
    local apt=(timeout "$time_limit" apt-get -qq -o Acquire::Retries=1
        -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
    if ! "${apt[@]}" -o APT::Update::Error-Mode=any update >&2 ||
        ! (cd -- "$work/packages" && "${apt[@]}" download "${packages[@]/%//$suite}" >&2); then
        why="Debian's backports cannot be reached"
        return
    fi
    local package
    for package in "$work"/packages/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$folder" --transform 's|.*/||' --wildcards '*/lib*.so*'
    done
    rm -rf -- "$work" "$folder"/libvulkan_[!r]* "$folder"/libVkLayer_*
    printf '{ "file_format_version": "1.0.0", "ICD": { "library_path": "%s", "api_version": "1.3.0" } }\n' \
        "$folder/libvulkan_radeon.so" >"$newer"
}

options=()
why=""
if is_debian_12; then
    fetch_newer
    if [[ -z $why ]]; then
        options+=(--newer "$newer")
    else
        say "cooperative matrices: skipped: $why"
    fi
fi

# In the profile of the tests, so that the engine is compiled once for both.
cargo run --quiet --profile test -p jostle-isa -- ${options[@]+"${options[@]}"} "$@"
[[ -z $why ]] || exit 77 # as the harness of automake's tests takes it: something could not run, and nothing failed
