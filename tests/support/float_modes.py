"""Switch the floating-point mode of the calling thread, as a library that is badly compiled does."""

from __future__ import annotations

import ctypes
import mmap
import platform

# x86: bits of MXCSR; arm64: bits of FPCR, where one bit flushes results and reads operands as zero.
X86 = platform.machine() in ("x86_64", "AMD64")
FLUSH = 0x8000 if X86 else 1 << 24
OPERANDS = 0x0040 if X86 else 1 << 24
UPWARD = 0x4000 if X86 else 1 << 22
TOWARDS_ZERO = 0x6000 if X86 else 3 << 22
DEFAULT = 0x1F80 if X86 else 0
# `ldmxcsr [rdi]; ret`, `ldr w0, [x0]; msr fpcr, x0; ret`
_CODE = bytes.fromhex("0fae17c3" if X86 else "000040b900441bd5c0035fd6")


def switch(bits: int = 0) -> None:
    """Set the mode of this thread to the default with some bits on."""
    _load(ctypes.byref(ctypes.c_uint32(DEFAULT | bits)))


_page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
_page.write(_CODE)
_load = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(_page)))
