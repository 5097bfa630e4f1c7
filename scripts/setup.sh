#!/usr/bin/env bash
# Makes this machine ready to build and run Jostle, and does nothing where it is ready already.
#
# Needed: cargo of the version in Cargo.toml, a linker (cc), and on Linux a Vulkan driver. Where there is no GPU with a
# driver, Mesa's software driver (lavapipe) is installed with the system's package manager. macOS (Metal) and Windows
# (DX12) bring their own.
#
# `setup.sh spirv` also asks for a C++ compiler (c++), which tests/spirv compiles spirv-val with.
set -euo pipefail

purpose="${1:-}"
rustup_line="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"

say() { printf 'setup: %s\n' "$*"; }
die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# --- Rust -------------------------------------------------------------------------------------------------------------

check_cargo() {
    local manifest wanted found
    manifest="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)/Cargo.toml"
    # A fresh rustup is not on the PATH of shells that were open before it.
    PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"
    have cargo || die "cargo is missing; this line installs it:" "  $rustup_line"
    wanted="$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$manifest")"
    found="$(cargo --version | sed -n 's/^cargo \([0-9][0-9.]*\).*/\1/p')"
    if [[ -n $wanted && -n $found && $(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1) != "$wanted" ]]; then
        if have rustup; then
            die "cargo is $found, Jostle needs $wanted or newer; this line updates it:" "  rustup update stable"
        fi
        die "cargo is $found, Jostle needs $wanted or newer; this line installs it:" "  $rustup_line"
    fi
}

# --- Vulkan -----------------------------------------------------------------------------------------------------------

has_loader() {
    local ldconfig dir
    for ldconfig in ldconfig /sbin/ldconfig /usr/sbin/ldconfig; do
        if have "$ldconfig"; then
            # The whole output is read: with pipefail a reader that leaves early would count as a failure.
            if "$ldconfig" -p 2>/dev/null | grep -F 'libvulkan.so.1 ' >/dev/null; then
                return 0
            fi
            break
        fi
    done
    local dirs
    IFS=: read -r -a dirs <<<"${LD_LIBRARY_PATH:-}"
    for dir in ${dirs[@]+"${dirs[@]}"}; do
        [[ -n $dir && -e $dir/libvulkan.so.1 ]] && return 0
    done
    return 1
}

# The manifests that the Vulkan loader would read, one a line.
driver_manifests() {
    local chosen="${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}" places place
    if [[ -n $chosen ]]; then
        IFS=: read -r -a places <<<"$chosen"
    else
        places=(
            "${XDG_CONFIG_HOME:-${HOME:-/root}/.config}/vulkan/icd.d"
            "${XDG_DATA_HOME:-${HOME:-/root}/.local/share}/vulkan/icd.d"
            /etc/vulkan/icd.d /usr/local/etc/vulkan/icd.d
            /usr/local/share/vulkan/icd.d /usr/share/vulkan/icd.d
            /run/opengl-driver/share/vulkan/icd.d
        )
    fi
    for place in "${places[@]}"; do
        if [[ -d $place ]]; then
            find -L "$place" -maxdepth 1 -name '*.json'
        elif [[ -f $place ]]; then
            printf '%s\n' "$place"
        fi
    done
}

has_gpu_device() { compgen -G '/dev/dri/renderD*' >/dev/null || [[ -e /dev/nvidiactl || -e /dev/dxg ]]; }

# A software driver always gives an adapter; a GPU's driver only where there is a GPU.
has_adapter() {
    local manifests
    has_loader || return 1
    manifests="$(driver_manifests)"
    case "$manifests" in
        '') return 1 ;;
        *lvp_icd* | *swiftshader*) return 0 ;;
        *) has_gpu_device ;;
    esac
}

# --- Packages ---------------------------------------------------------------------------------------------------------

# Sets `commands`, one shell line each, that install what is missing.
plan_packages() {
    local driver="$1" linker="$2" cxx="$3" packages=""
    if have apt-get; then
        [[ -z $driver ]] || packages+=" mesa-vulkan-drivers libvulkan1"
        [[ -z $linker ]] || packages+=" gcc libc6-dev"
        [[ -z $cxx ]] || packages+=" g++"
        commands=("apt-get update"
            "env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends$packages")
    elif have dnf; then
        [[ -z $driver ]] || packages+=" mesa-vulkan-drivers vulkan-loader"
        [[ -z $linker ]] || packages+=" gcc"
        [[ -z $cxx ]] || packages+=" gcc-c++"
        commands=("dnf install -y$packages")
    elif have pacman; then
        [[ -z $driver ]] || packages+=" vulkan-swrast vulkan-icd-loader"
        [[ -z $linker$cxx ]] || packages+=" gcc"
        commands=("pacman -Sy --needed --noconfirm$packages")
    elif have zypper; then
        [[ -z $driver ]] || packages+=" libvulkan_lvp libvulkan1"
        [[ -z $linker ]] || packages+=" gcc"
        [[ -z $cxx ]] || packages+=" gcc-c++"
        commands=("zypper --non-interactive install$packages")
    else
        die "none of apt-get, dnf, pacman and zypper is here; install what is missing yourself:" \
            ${driver:+"  lavapipe, the software Vulkan driver of Mesa, and the Vulkan loader libvulkan.so.1"} \
            ${linker:+"  gcc, or another linker that is called cc"} \
            ${cxx:+"  g++, or another C++ compiler that is called c++"}
    fi
}

install_missing() {
    local commands=() as_root=() line command words
    plan_packages "$@"
    line="$(printf ' && %s' "${commands[@]}")"
    line="${line# && }"
    if [[ $(id -u) -ne 0 ]]; then
        line="sudo sh -c '$line'"
        have sudo || die "installing packages needs root and sudo is missing; as root, run:" "  ${line#sudo }"
        as_root=(sudo)
    fi
    for command in "${commands[@]}"; do
        say "running: ${as_root[*]:+${as_root[*]} }$command"
        read -r -a words <<<"$command"
        if ! ${as_root[@]+"${as_root[@]}"} "${words[@]}"; then
            # A repository that cannot be reached need not be the one with our packages.
            [[ $command != "apt-get update" ]] || continue
            die "that failed; what is needed is what this line installs:" "  $line"
        fi
    done
}

# --- Everything -------------------------------------------------------------------------------------------------------

check_cargo

case "$(uname -s)" in
    Linux) ;;
    Darwin)
        have cc || die "the linker is missing; this line installs it:" "  xcode-select --install"
        exit 0
        ;;
    MINGW* | MSYS* | CYGWIN*) exit 0 ;;
    *) say "unknown system $(uname -s); assuming that it has a Vulkan driver" && exit 0 ;;
esac

driver="" linker="" cxx=""
if ! has_adapter; then
    say "no Vulkan adapter on this machine: installing Mesa's software driver"
    driver=missing
fi
if ! have cc; then
    say "no linker (cc) on this machine, which Rust needs: installing gcc"
    linker=missing
fi
if [[ $purpose == spirv ]] && ! have c++; then
    say "no C++ compiler (c++) on this machine, which spirv-val is compiled with: installing one"
    cxx=missing
fi
[[ -n $driver$linker$cxx ]] || exit 0

install_missing "$driver" "$linker" "$cxx"

if ! has_adapter; then
    if [[ -n ${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}} ]]; then
        die "the driver is installed, but VK_DRIVER_FILES or VK_ICD_FILENAMES hides it: unset them, or name its file."
    fi
    die "the packages are installed, but there is still no Vulkan adapter: no lvp_icd*.json in /usr/share/vulkan/icd.d," \
        "or no libvulkan.so.1; find the package of this system that holds lavapipe, the software driver of Mesa."
fi
have cc || die "gcc is installed, but there is still no cc on the PATH."
[[ -z $cxx ]] || have c++ || die "a C++ compiler is installed, but there is still no c++ on the PATH."
say "ready"
