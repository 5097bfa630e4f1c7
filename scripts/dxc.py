"""Puts the HLSL that jostle-compilers wrote through DXC, the shader compiler of DirectX 12:

    python3 scripts/dxc.py LIBRARY FOLDER      # LIBRARY: libdxcompiler

With the arguments that wgpu gives it. One line a text on stdout, for scripts/compilers.sh: `ok<tab>NAME` or
`refused<tab>NAME<tab>ENTRY<tab>WORDS`. Exits 77 where the library does not load.
"""

import ctypes
import json
import os
import pathlib
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, byref, c_char_p, c_int32, c_size_t, c_uint32, c_void_p, c_wchar_p

COMPILER_CLASS = "73e22d93-e6ce-47f3-b5bf-f0664f39c1b0"
COMPILER_3 = "228b4687-5a6a-4730-900c-9702b2203f54"
RESULT = "58346cda-dde7-4497-9461-6f87af5e0659"
BLOB_UTF8 = "3da636c9-ba71-4024-a301-30cbf125305b"
UTF8 = 65001
OUT_OBJECT, OUT_ERRORS = 1, 2

# Places in the tables of methods: those of IUnknown (QueryInterface, AddRef, Release), two of a destructor, which DXC's
# IUnknown has outside of Windows, then each interface's own.
RELEASE = 2
COMPILE = 5  # IDxcCompiler3
GET_STATUS, GET_OUTPUT = 5, 9  # IDxcOperationResult, then IDxcResult
GET_POINTER, GET_SIZE = 5, 6  # IDxcBlob


class Buffer(ctypes.Structure):
    """DxcBuffer"""

    _fields_ = [("pointer", c_void_p), ("size", c_size_t), ("encoding", c_uint32)]


def guid(text):
    return ctypes.create_string_buffer(uuid.UUID(text).bytes_le, 16)


def call(thing, method, result, *arguments):
    """Calls a method of a COM object; arguments are (type, value)."""
    table = ctypes.cast(thing, POINTER(POINTER(c_void_p))).contents
    types = [kind for kind, _ in arguments]
    function = ctypes.CFUNCTYPE(result, c_void_p, *types)(table[method])
    return function(thing, *[value for _, value in arguments])


def release(thing):
    if thing:
        call(thing, RELEASE, c_uint32)


def expect(status, what):
    if status < 0:
        raise OSError(f"{what}: HRESULT {status & 0xFFFFFFFF:#010x}")


def blob_bytes(blob):
    size = call(blob, GET_SIZE, c_size_t)
    return ctypes.string_at(call(blob, GET_POINTER, c_void_p), size) if size else b""


def output(result, kind, interface):
    blob, name = c_void_p(), c_void_p()
    arguments = [(c_uint32, kind), (c_void_p, guid(interface)), (c_void_p, byref(blob)), (c_void_p, byref(name))]
    status = call(result, GET_OUTPUT, c_int32, *arguments)
    data = blob_bytes(blob) if status >= 0 and blob else b""
    release(blob)
    release(name)
    return data


def compile_text(library, text, arguments):
    """DXC's words about a text, none where it made DXIL of it."""
    compiler, result = c_void_p(), c_void_p()
    create = library.DxcCreateInstance
    expect(create(guid(COMPILER_CLASS), guid(COMPILER_3), byref(compiler)), "DxcCreateInstance")
    data = text.encode()
    source = Buffer(ctypes.cast(c_char_p(data), c_void_p), len(data), UTF8)
    wide = (c_wchar_p * len(arguments))(*arguments)
    status = call(
        compiler, COMPILE, c_int32,
        (c_void_p, byref(source)), (c_void_p, wide), (c_uint32, len(arguments)), (c_void_p, None),
        (c_void_p, guid(RESULT)), (c_void_p, byref(result)),
    )  # fmt: skip
    expect(status, "Compile")
    outcome = c_int32()
    expect(call(result, GET_STATUS, c_int32, (c_void_p, byref(outcome))), "GetStatus")
    words = output(result, OUT_ERRORS, BLOB_UTF8).rstrip(b"\0").decode(errors="replace")
    dxil = output(result, OUT_OBJECT, "8ba5fb08-5195-40e2-ac58-0d989c3a0102")
    release(result)
    release(compiler)
    if outcome.value < 0:
        return words or "failed without a word"
    return "" if dxil[:4] == b"DXBC" else "made no DXIL"


def check(library, folder, kernel):
    if "refusal" in kernel:
        return kernel["refusal"]
    arguments = ["-E", kernel["entry"], "-T", kernel["profile"], "-HV", "2018", "-no-warnings", "-Ges"]
    if kernel["f16"]:
        arguments.append("-enable-16bit-types")
    return compile_text(library, (folder / kernel["file"]).read_text(), arguments)


def main():
    _, path, folder = sys.argv
    try:
        library = ctypes.CDLL(str(pathlib.Path(path).resolve()))
    except OSError as error:
        print(f"DXC's library does not load: {error}", file=sys.stderr)
        return 77
    library.DxcCreateInstance.restype = c_int32
    library.DxcCreateInstance.argtypes = [c_void_p, c_void_p, c_void_p]
    folder = pathlib.Path(folder)
    kernels = json.loads((folder / "list.json").read_text())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for kernel, words in zip(kernels, pool.map(lambda kernel: check(library, folder, kernel), kernels)):
            line = ["refused", kernel["name"], kernel["entry"], " ".join(words.split())] if words else ["ok", kernel["name"]]
            print("\t".join(line))
    return 0


sys.exit(main())
