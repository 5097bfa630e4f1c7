#!/usr/bin/env bash
# Checks and measures Jostle on the adapter at hand, in stages, the most valuable first, and leaves a report:
#
#   scripts/gpu.sh [--budget SECONDS] [--out DIR] [--adapter ADAPTER] [--data DATA] [--stages LETTERS] [--toy] [--require-all]
#
# DIR gets RESULTS.md, results.json, log.txt and rooflines as PNG; after every piece of work the report is written anew, so
# that a cut at any moment leaves all that was done before. In a checkout it builds what it needs with cargo; in the folder
# that scripts/gpu_bundle.sh makes it needs neither cargo nor git nor a network.
#
#   --budget       seconds that all may take, builds aside [420]
#   --adapter      an index of `jostle adapters`, a part of a name, or `software` [the best]
#   --data         Fashion-MNIST for the last stage, as `jostle train --data` takes it, or a folder of its four files
#   --stages       only these of the stages a to h, in their order; a is always done [abcdefgh]
#   --toy          a rehearsal: one test a room, small shapes; figures then mean nothing
#   --require-all  status 2 where a stage but PyTorch's was not done in full
#
# PYTHON names a Python that has PyTorch [python3]. Status 0: all correctness passed; 1: not, the last lines say what.
set -u

budget=420 out="" data="" stages=abcdefgh toy=0 report_options=()
while [[ $# -gt 0 ]]; do
    case "$1" in
        --budget) budget="${2:?}" && shift 2 ;;
        --out) out="${2:?}" && shift 2 ;;
        --adapter) export JOSTLE_ADAPTER="${2:?}" && shift 2 ;;
        --data) data="${2:?}" && shift 2 ;;
        --stages) stages="${2:?}" && shift 2 ;;
        --toy) toy=1 && shift ;;
        --require-all) report_options+=(--require-all) && shift ;;
        *)
            sed -n '2,/^set -u/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            [[ $1 == --help ]]
            exit $(($? * 2))
            ;;
    esac
done

# Rooms of the suite in the order of their worth, with the test that stands for each in a rehearsal.
rooms=(
    kernels::matmul the_variant_taken_for_a_small_product_matches_f64
    kernels::conv one_by_one_convolutions_are_matrix_products
    kernels::winograd winograd_agrees_with_the_definition
    kernels::cooperative only_listed_matrices_are_used_and_only_on_gpus
    kernels::batch_norm large_means_cancel_nothing
    train::repeat runs_repeat_bit_by_bit
    kernels::norms large_means_cancel_nothing
    kernels::optimizers sgd_follows_pytorch
    kernels::philox device_bits_are_the_published_ones
    noise::draws neighbouring_elements_are_independent
    kernels::losses nll_matches_f64_and_central_differences
    train::mixed_precision the_cast_rounds_to_nearest
    kernels::reductions column_sums_match_f64
    train::repeat_models every_network_is_of_a_family
)

die() {
    printf 'gpu.sh: %s\n' "$@" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# --- Programs and drivers -----------------------------------------------------------------------------------------------

# The programs of a bundle, which come packed: each takes the place of its archive.
unpack() { [[ ! -e $1/jostle.gz ]] || gzip -df "$1"/*.gz || die "the programs in $1 cannot be unpacked"; }

# Sets root (what tests read lies there), jostle, suite and peers: those of the bundle that this script lies in, else those
# of the checkout, built here, else those of a bundle in the checkout.
find_programs() {
    local here built
    here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
    root="$here"
    unpack "$here/bin"
    if [[ ! -x $here/bin/jostle ]]; then
        root="$(dirname -- "$here")"
        PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"
        if have cargo; then
            bash "$here/setup.sh" || die "setup.sh found no adapter and no way to install one"
            (cd "$root" && cargo build --release) || die "the program does not build"
            built="$(cd "$root" && cargo test --no-run --test suite 2>&1)" || die "the tests do not build" "$built"
            jostle="${CARGO_TARGET_DIR:-$root/target}/release/jostle"
            suite="$(sed -n 's/.*Executable .*(\(.*\))$/\1/p' <<<"$built" | tail -n 1)"
            [[ $suite == /* ]] || suite="$root/$suite"
            peers="$root/benches/peers" out="${out:-$root/runs/gpu}"
            meganeura="${CARGO_TARGET_DIR:-$peers/meganeura/target}/release/jostle-peer-meganeura"
            return
        fi
        root="$root/gpu-bundle"
        unpack "$root/bin"
        [[ -x $root/bin/jostle ]] || die "there is neither cargo nor a bundle (scripts/gpu_bundle.sh) here"
    fi
    jostle="$root/bin/jostle" suite="$root/bin/suite" peers="$root/peers" out="${out:-$root/results}"
    meganeura="$root/bin/jostle-peer-meganeura"
}

# The folders of libraries, one a line, that the loader would look into beside its cache.
in_library_path() {
    local dir dirs
    IFS=: read -r -a dirs <<<"${LD_LIBRARY_PATH:-}:/usr/local/nvidia/lib64:/usr/local/nvidia/lib"
    for dir in "${dirs[@]}"; do
        [[ -n $dir && -e $dir/$1 ]] && printf '%s\n' "$dir" && return
    done
    return 1
}

in_loader_cache() { PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null | grep -F "$1 " >/dev/null; }

library_path() { export LD_LIBRARY_PATH="$1${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"; }

# The Vulkan loader that the bundle carries where there is none, and NVIDIA's driver in the places where containers mount it.
prepare_vulkan() {
    [[ $(uname -s) == Linux ]] || return 0
    local dir driver=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
    local vendor=/usr/local/nvidia/share/glvnd/egl_vendor.d/10_nvidia.json
    if ! in_loader_cache libvulkan.so.1 && ! in_library_path libvulkan.so.1 >/dev/null; then
        if [[ -e $root/lib/libvulkan.so.1 ]]; then
            library_path "$root/lib"
        else
            die "there is no Vulkan loader; three packages of Debian bring what NVIDIA's driver needs:" \
                "  apt-get install libvulkan1 libegl1 libglvnd0"
        fi
    fi
    if ! in_loader_cache libGLX_nvidia.so.0 && dir="$(in_library_path libGLX_nvidia.so.0)"; then
        library_path "$dir"
    fi
    if [[ -e $driver && -z ${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}} ]]; then
        export VK_DRIVER_FILES="$driver"
        [[ -e $vendor ]] && export __EGL_VENDOR_LIBRARY_FILENAMES="${__EGL_VENDOR_LIBRARY_FILENAMES:-$vendor}"
    fi
    return 0
}

# --- Pieces of work -----------------------------------------------------------------------------------------------------

now() { # milliseconds
    local micros="${EPOCHREALTIME/[.,]/}"
    printf '%s' $((micros / 1000))
}

record() { # fields of a line of the ledger: src/gpu_report/ledger.rs
    local IFS=$'\t'
    printf '%s\n' "$*" >>"$scratch/ledger.tsv"
}

report() { # writes the report of all so far
    record run seconds $((($(now) - start) / 1000))
    "$jostle" gpu-report --from "$scratch" --out "$out" "$@"
}

skip() { # KIND TITLE REASON
    record "$letter" "$1" "$2" skipped 0 "$3"
    printf '== %s, %s: skipped: %s\n' "$letter" "$2" "$3" | tee -a "$log"
    report --quiet
}

# A stage has so many seconds at most, of what is left of the budget; fails where it was not asked for.
stage() { # LETTER KIND SECONDS
    letter="$1"
    if [[ $stages != *"$letter"* ]]; then
        skip "$2" "all of it" "not asked for"
        return 1
    fi
    stage_end=$(($(now) + $3 * 1000))
    [[ $stage_end -lt $end ]] || stage_end=$end
}

left() { printf '%s' $(((stage_end - $(now)) / 1000)); }

# Runs a command with a time limit and records how it ended; its status is in $status.
piece() { # KIND TITLE SECONDS COMMAND...
    local kind="$1" title="$2" limit="$3" seconds began
    shift 3
    status=0
    seconds="$(left)"
    if [[ $seconds -lt 3 ]]; then
        status=124
        skip "$kind" "$title" "no time left of the $([[ $stage_end -lt $end ]] && echo stage || echo budget)"
        return
    fi
    [[ $limit -le $seconds ]] || limit="$seconds"
    count=$((count + 1))
    file="$letter-$count"
    began="$(now)"
    # In the background, so that a signal to this script is not held back until the command ends.
    timeout -k 3 "$limit" "$@" >"$scratch/$file.out" 2>"$scratch/$file.err" </dev/null &
    child=$!
    wait "$child" || status=$?
    child=""
    seconds="$(($(now) - began))"
    seconds="$((seconds / 1000)).$(printf '%03d' $((seconds % 1000)))"
    {
        printf '== %s, %s: exit %s, %s s: %s\n' "$letter" "$title" "$status" "$seconds" "$*"
        cat "$scratch/$file.err" "$scratch/$file.out"
    } >>"$log"
    if [[ $status -eq 3 && $title == *f16* ]]; then
        skip "$kind" "$title" "$(tail -n 1 "$scratch/$file.err")"
        return
    fi
    record "$letter" "$kind" "$title" "$status" "$seconds" "$file"
    printf '== %s, %s: exit %s, %s s\n' "$letter" "$title" "$status" "$seconds"
    report --quiet
}

finish() { # the report on stdout
    [[ -z $child ]] || kill "$child" 2>/dev/null
    [[ ${1:-} == cut ]] || record run finished 1
    printf '\n'
    report ${report_options[@]+"${report_options[@]}"} | tee -a "$log"
    exit "${PIPESTATUS[0]}"
}

# --- Stages -------------------------------------------------------------------------------------------------------------

adapters() {
    local card
    record run machine "$(uname -srm), $(nproc) cores, load $(cut -d ' ' -f 1-3 /proc/loadavg 2>/dev/null)"
    if have nvidia-smi; then
        card="$(timeout 10 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit \
            --format=csv,noheader 2>&1 | head -n 1)"
        record run machine "nvidia-smi: $card"
    fi
    piece adapters adapters 20 "$jostle" adapters --json
    [[ $status -eq 0 ]] || finish cut
}

# What a room's process did not come to, each test in a process of its own: one that crashed it takes no other with it.
one_by_one() { # ROOM FILE
    local name
    grep "^$1::" "$scratch/list.txt" | while read -r name; do
        grep -qE "^test $name( - should panic)? \.\.\. " "$scratch/$2.out" || printf '%s\n' "$name"
    done >"$scratch/unfinished.txt"
    while read -r -u 3 name; do
        piece tests "$name" 15 "$suite" --exact "$name" --test-threads 1
    done 3<"$scratch/unfinished.txt"
}

room() { # ROOM SMOKE_TEST
    if ! grep -q "^$1::" "$scratch/list.txt"; then
        skip tests "$1" "the suite has no such room: the list in gpu.sh is older than the tests"
    elif [[ $toy -eq 0 ]]; then
        piece tests "$1" 60 "$suite" "$1::" --test-threads "$threads"
        [[ $status -eq 0 || $status -eq 101 || $status -eq 124 ]] || crashed+=("$1" "$file")
    elif grep -qx "$1::$2" "$scratch/list.txt"; then
        piece tests "$1::$2" 60 "$suite" --exact "$1::$2" --test-threads 1
    else
        skip tests "$1::$2" "the suite has no such test: the list in gpu.sh is older than the tests"
    fi
}

correctness() {
    local index name rest crashed=()
    for ((index = 0; index < ${#rooms[@]}; index += 2)); do
        room "${rooms[index]}" "${rooms[index + 1]}"
    done
    # Rooms of kernels that the list does not name, with the first of their tests.
    rest="$(sed -n 's/^\(kernels::[a-z0-9_]*\)::.*/\1/p' "$scratch/list.txt" | sort -u)"
    for name in $rest; do
        [[ " ${rooms[*]} " == *" $name "* ]] || room "$name" "$(sed -n "s/^$name:://p" "$scratch/list.txt" | head -n 1)"
    done
    for ((index = 0; index < ${#crashed[@]}; index += 2)); do
        one_by_one "${crashed[index]}" "${crashed[index + 1]}"
    done
}

rooflines() {
    local line model batch precision
    for line in "${roofline_models[@]}"; do
        read -r model batch precision <<<"$line"
        piece roofline "$model, batch $batch, $precision" 45 "$jostle" bench --json --roofline --model "$model" \
            --batch "$batch" --precision "$precision" --timed-steps 20 --seconds "$roofline_seconds" --out "$scratch/roofline"
        if [[ $status -eq 0 ]]; then
            cp "$scratch/roofline/roofline.png" "$out/roofline-${model//[:\/]/-}-$precision.png"
        fi
    done
}

variants() {
    local precision line model batch
    for precision in "${product_precisions[@]}"; do
        piece variants "product $product, $precision" 60 "$jostle" bench --json --variants --matmul "$product" \
            --precision "$precision" --rounds 7 --seconds 2
    done
    for line in "${variant_models[@]}"; do
        read -r model batch precision <<<"$line"
        piece variants "$model, batch $batch, $precision" 60 "$jostle" bench --json --variants --model "$model" \
            --batch "$batch" --precision "$precision" --rounds 5 --seconds 0.5
    done
}

steps() {
    local line model batch timed precision noise
    for line in "${step_models[@]}"; do
        read -r model batch timed precision <<<"$line"
        for noise in layer all; do # each beside steps without noise, which is mode none
            piece step "$model, batch $batch, $precision, noise $noise" 30 "$jostle" bench --json --model "$model" \
                --batch "$batch" --precision "$precision" --noise "$noise" --timed-steps "$timed" --rounds 16 \
                --seconds "$step_seconds"
        done
    done
}

# A line of options of torch_step.py for each step and product of the other stages.
torch_lines() {
    local line model batch tensors noise precision
    for precision in f32 tf32 f16; do
        printf -- '--matmul %s --precision %s --steps 20\n' "$product" "$precision"
    done
    for line in "${torch_models[@]}"; do
        read -r model batch tensors <<<"$line"
        for noise in none layer all; do
            for precision in f32 'autocast --channels-last' tf32; do
                printf -- '--model %s --batch %s --noise %s --precision %s --steps %s --sync-every %s\n' \
                    "$model" "$batch" "$noise" "$precision" "$tensors" "$tensors"
            done
        done
    done
}

torch() {
    local python="${PYTHON:-python3}" device=cuda
    local step=("$python" "$peers/torch_step.py" --lines --warmup 5 --threads "$(nproc)")
    if ! have "$python"; then
        skip torch "steps and products" "there is no $python"
    elif ! "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then
        skip torch "steps and products" "$python has no PyTorch"
    elif [[ $toy -eq 0 && ! -e /dev/nvidiactl ]]; then
        skip torch "steps and products" "there is no CUDA device"
    else
        [[ -e /dev/nvidiactl ]] || device=cpu
        torch_lines >"$scratch/torch.txt"
        # shellcheck disable=SC2016 # the inner shell expands it
        piece torch "steps and products" 60 bash -c 'lines="$1" && shift && "$@" <"$lines"' - "$scratch/torch.txt" \
            "${step[@]}" --device "$device"
        if [[ $toy -eq 1 ]] || ! have "${CC:-cc}"; then
            skip torch "torch.compile" "$([[ $toy -eq 1 ]] && echo 'a rehearsal' || echo 'there is no C compiler')"
            return
        fi
        piece torch "torch.compile" 60 bash -c 'lines="$1" && shift && "$@" <<<"$lines"' - \
            '--model resnet18 --batch 128 --precision autocast --channels-last --compile default --steps 60 --sync-every 20' \
            "${step[@]}" --device "$device"
    fi
}

# Meganeura trains in f32 without noise; of what it trains ResNet-18 has no norms, and so a step of ours beside it.
meganeura() {
    local line model batch steps options=(--warmup 10 --sync-every 10)
    if [[ ! -x $meganeura ]]; then
        skip torch "Meganeura" "benches/peers/meganeura is not built"
        return
    fi
    for line in "${meganeura_models[@]}"; do
        read -r model batch steps <<<"$line"
        piece torch "Meganeura, $model" 40 "$meganeura" --model "$model" --batch "$batch" --steps "$steps" "${options[@]}"
    done
    [[ $toy -eq 1 ]] || piece step "resnet18-plain, batch 128" 20 "$jostle" bench --json --batch 128 --precision f32 \
        --model "$peers/models/resnet18-plain.toml" --data cifar10 --noise none --timed-steps 128 --rounds 8
}

trace() {
    local name
    for name in $(grep -E '::two_adapters::.*_follows?_the_trace$' "$scratch/list.txt"); do
        piece tests "$name" 60 "$suite" --exact "$name" --show-output
    done
}

experiment() {
    local name="fmnist-mlp" options=(--scale paper --set 'models=["mlp1"]') seeds=1
    if [[ $toy -eq 1 ]]; then
        options=(--set 'models=["mlp:64-32-10"]' --set train.epochs=2 --set train.noise-off-epoch=1
            --set train.subset=200 --set train.test-subset=100 --set trace_samples=50 --set trace_probes=2)
        data=digits seeds=2
    elif [[ -z $data ]]; then
        skip experiment "$name, scale paper, mlp1" "no --data"
        return
    elif [[ -d $data ]]; then
        data="idx:$data"
    fi
    [[ $toy -eq 1 || $(left) -lt 200 ]] || seeds=5
    piece experiment "$name on $data, $seeds seeds" "$budget" "$jostle" experiment "$name" --json \
        "${options[@]}" --set "seeds=$seeds" --data "$data" --out "$scratch/experiment"
}

# --- All of it ----------------------------------------------------------------------------------------------------------

if [[ $toy -eq 1 ]]; then
    # f32 alone: llvmpipe compiles the product's variants in f16 for half a minute, and the roofline has f16.
    product=128 product_precisions=(f32) roofline_seconds=1 step_seconds=1
    roofline_models=("mlp:64-77-10 16 f16" "resnet20:4 4 f32")
    variant_models=("mlp:64-77-10 16 f32")
    step_models=("mlp:64-77-10 16 16 f32" "mlp:64-77-10 16 16 f16")
    torch_models=("mlp:64-77-10 16 4") meganeura_models=("mlp:64-77-10 16 10")
else
    product=4096 product_precisions=(f32 f16) roofline_seconds=5 step_seconds=6
    roofline_models=("resnet18 128 f32" "resnet18 128 f16" "mlp2 128 f32" "gpt-shakespeare 64 f32")
    variant_models=("resnet18 128 f32" "resnet18 128 f16" "mlp2 128 f32" "cnn2 128 f32" "mlp2 128 f16" "cnn2 128 f16")
    # Model, batch, timed steps: enough of them for a round to last some 20 ms.
    step_models=("resnet18 128 128 f32" "resnet18 128 128 f16" "mlp1 128 2048 f32" "mlp2 128 256 f32" "cnn2 128 512 f32"
        "mlp1 128 2048 f16" "mlp2 128 256 f16" "cnn2 128 512 f16" "gpt-shakespeare 64 128 f32" "gpt-shakespeare 64 128 f16"
        "vit-tiny 128 128 f32" "vit-tiny 128 128 f16")
    # Model, batch, tensors: in mode layer a block of steps meets each once.
    torch_models=("resnet18 128 62" "mlp1 128 40" "mlp2 128 24" "cnn2 128 30" "gpt-shakespeare 64 76" "vit-tiny 128 152")
    meganeura_models=("mlp1 128 200" "mlp2 128 50" "resnet18-plain 128 30") # model, batch, steps
fi

find_programs
scratch="$(mktemp -d "${TMPDIR:-/tmp}/jostle-gpu.XXXXXX")" || die "there is no place for files"
trap 'rm -rf -- "$scratch"' EXIT
mkdir -p "$out" && out="$(cd -- "$out" && pwd)" || die "no folder can be made at $out"
rm -f -- "$out"/{RESULTS.md,results.json,log.txt} "$out"/roofline-*.png
log="$out/log.txt" letter="" count=0 child="" status=0 file="" start="$(now)" end=$(($(now) + budget * 1000)) stage_end=0
trap 'finish cut' INT TERM
# Pipelines that one process has compiled serve the next.
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$scratch/cache}" JOSTLE_ROOT="$root" JOSTLE_BIN="$jostle"
threads="$(nproc)"
[[ $threads -le 16 ]] || threads=16
record run started "$(date -u '+%Y-%m-%d %H:%M UTC')"
record run budget "$budget"
record run toy "$toy"
prepare_vulkan

stages="a$stages"
stage a adapters 30 && adapters
"$suite" --list --format terse 2>>"$log" | sed -n 's/: test$//p' >"$scratch/list.txt"
stage b tests 150 && correctness
stage c roofline 75 && rooflines
stage d variants 75 && variants
stage e step 100 && steps
stage g tests 30 && trace # seconds: before what takes a minute and needs a CUDA device
stage f torch 75 && { torch; meganeura; }
stage h experiment "$budget" && experiment
finish
