# SwiftShader, the software Vulkan driver of Chrome, from Debian's package chromium-common; for other scripts to source.

# Unpacks SwiftShader into target/swiftshader, where it is not there yet, without installing it; sets `swiftshader` to its
# description for VK_DRIVER_FILES. Returns 1 and says why where it cannot be had.
fetch_swiftshader() {
    local folder="${CARGO_TARGET_DIR:-target}/swiftshader" package=chromium-common
    mkdir -p "$folder"
    folder="$(cd -- "$folder" && pwd)"
    # shellcheck disable=SC2034 # for who sources this
    swiftshader="$folder/vk_swiftshader_icd.json"
    [[ ! -f $folder/libvk_swiftshader.so ]] || return 0
    (cd "$folder" && apt-get download "$package" && dpkg -x "$package"_*.deb package &&
        mv package/usr/lib/chromium/{vk_swiftshader_icd.json,libvk_swiftshader.so} . && rm -r -- package "$package"_*.deb) ||
        { echo "the package $package could not be fetched: apt-get update" >&2 && return 1; }
}
