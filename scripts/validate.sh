#!/usr/bin/env bash
# Runs tests under the Khronos validation layer, with synchronisation validation, and fails at every message that
# scripts/validation-argued.txt does not argue:
#
#   scripts/validate.sh [ARGUMENT...]      # as for cargo nextest run (or cargo test); without any: the whole suite
#
# The layer is that of VALIDATION_LAYER (libVkLayer_khronos_validation.so), else the system's, else that of the Debian
# package vulkan-validationlayers, unpacked into target/validation without being installed.
#
# All messages of all processes, those that tests start among them, go to one pipe, whose end they inherit: the layer
# opens its log anew in each process, which would empty a file. The same log has a line of each instance with the checks
# that are on, and before all tests gpu::validation breaks two rules, which have to be found.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

folder="${CARGO_TARGET_DIR:-target}/validation"
mkdir -p "$folder"
folder="$(cd -- "$folder" && pwd)"
argued=scripts/validation-argued.txt
log="$folder/messages.log"
package=vulkan-validationlayers
library=libVkLayer_khronos_validation.so

die() {
    printf 'validate: %s\n' "$*" >&2
    exit 1
}

# --- The layer --------------------------------------------------------------------------------------------------------

# Sets `layer`, the library, and `manifest`, any version of its description.
find_layer() {
    local system=/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json
    layer="${VALIDATION_LAYER:-}"
    manifest="$folder/package$system"
    if [[ -z $layer && -f $system ]]; then
        layer="$(find /usr/lib /usr/lib64 -name "$library" -print -quit 2>/dev/null)"
        manifest="$system"
    fi
    if [[ ! -f $manifest ]]; then
        command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
            die "no validation layer here and no apt-get to fetch it: install $package, or this system's name for it"
        mkdir -p "$folder/package"
        (cd "$folder" && apt-get download "$package" && dpkg -x "$package"_*.deb package && rm -- "$package"_*.deb) ||
            die "the package $package could not be fetched: apt-get update, or install it"
    fi
    [[ -n $layer ]] || layer="$(find "$folder/package" -name "$library" -print -quit)"
    [[ -f $layer ]] || die "no $library: ${layer:-nowhere}"
}

# Descriptions name the library relative to the loader's search path: ours names this file.
write_settings() {
    local absolute
    absolute="$(cd -- "$(dirname -- "$layer")" && pwd)/$(basename -- "$layer")"
    mkdir -p "$folder/layer"
    sed "s#\"library_path\": *\"[^\"]*\"#\"library_path\": \"$absolute\"#" "$manifest" \
        >"$folder/layer/VkLayer_khronos_validation.json"
    cat >"$folder/settings.txt" <<'END'
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.report_flags = error,warn,perf,info
khronos_validation.log_filename = /proc/self/fd/9
khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT
khronos_validation.enable_message_limit = false
END
}

# Runs a command under the layer, its messages into file $1.
under_layer() {
    local into="$1" status=0 writer
    shift
    rm -f -- "$folder/pipe" "$into"
    mkfifo -- "$folder/pipe"
    cat <"$folder/pipe" >"$into" &
    writer=$!
    VK_LAYER_PATH="$folder/layer" VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation \
        VK_LAYER_SETTINGS_PATH="$folder/settings.txt" "$@" 9>"$folder/pipe" || status=$?
    wait "$writer"
    rm -- "$folder/pipe"
    return "$status"
}

# --- The log ----------------------------------------------------------------------------------------------------------

# One line a message, "KIND<tab>ID<tab>text", from the messages of several lines that the layer writes.
messages() {
    awk '
        function flush() { if (id != "") print kind "\t" id "\t" text; id = "" }
        match($0, /Validation (Error|Warning|Performance Warning|Information): \[ [^]]* \]/) {
            flush()
            head = substr($0, RSTART, RLENGTH)
            kind = head; sub(/^Validation /, "", kind); sub(/: .*/, "", kind)
            id = head; sub(/^[^[]*\[ /, "", id); sub(/ \]$/, "", id)
            text = substr($0, RSTART + RLENGTH)
            next
        }
        { text = text " " $0 }
        END { flush() }
    ' "$1"
}

# Whether the argued list has the message of this ID and text.
is_argued() {
    local id="$1" text="$2" of pattern
    while IFS= read -r line; do
        [[ -n $line && $line != '#'* ]] || continue
        of="${line%% | *}" pattern="${line#* | }"
        if [[ $of == "$id" ]] && grep -qE -- "$pattern" <<<"$text"; then
            return 0
        fi
    done <"$argued"
    return 1
}

# Prints the counts per ID; returns whether all are argued.
judge() {
    local kind id text instances unargued=0
    local -A counts=() reasons=()
    instances="$(grep -c -E 'Khronos Validation Layer Active|CURRENT-VALIDATION-ENABLED' "$log")" || true
    while IFS=$'\t' read -r kind id text; do
        [[ $kind != Information ]] || continue
        counts[$id]=$((${counts[$id]:-0} + 1))
        if ! is_argued "$id" "$text"; then
            unargued=$((unargued + 1))
            [[ -n ${reasons[$id]:-} ]] || printf 'validate: %s, not argued: %s\n%s\n' "$kind" "$id" "$text"
            reasons[$id]=no
        fi
    done < <(messages "$log")
    for id in "${!counts[@]}"; do
        printf 'validate: %s times %s\n' "${counts[$id]}" "$id"
    done
    [[ ${instances:-0} -gt 0 ]] || die "no instance reported that the layer is active"
    printf 'validate: %s instances under the layer, %s messages, %s of them not argued\n' \
        "$instances" "$(messages "$log" | grep -vc '^Information')" "$unargued"
    [[ $unargued -eq 0 ]]
}

# --- Everything -------------------------------------------------------------------------------------------------------

suite() {
    local of=("$@")
    [[ $# -gt 0 ]] || of=(--lib --tests)
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --no-fail-fast "${of[@]}"
    else
        cargo test --no-fail-fast "${of[@]}"
    fi
}

find_layer
write_settings

control="$folder/control.log"
under_layer "$control" cargo test --test suite -- --ignored gpu::validation
for expected in 'Khronos Validation Layer Active|CURRENT-VALIDATION-ENABLED' SYNC-HAZARD-WRITE.AFTER.WRITE \
    VUID-vkCmdFillBuffer-size-00027; do
    grep -qE -- "$expected" "$control" || die "the layer did not find what gpu::validation does wrong: $expected"
done
printf 'validate: the layer is active and found the mistakes made on purpose\n'

status=0
under_layer "$log" suite "$@" || status=$?
judge
exit "$status"
