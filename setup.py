"""Compiles the CPU kernel, if it can; all else is in pyproject.toml.

One library a width of vectors, so that a build serves any machine of its architecture. They are
plain shared libraries, loaded through ctypes: nothing of Python or torch is compiled in. Where no
C++ compiler is found the installation goes on without them, and training is slower.
"""

import platform

from setuptools import Extension, setup

SOURCE = "asr/nn/kernels/native/recurrence.cpp"
FLAGS = ["-O3", "-g0", "-std=c++17", "-fno-math-errno", "-pthread", "-Wno-psabi"]
X86 = {
    "avx512": ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma"],
    "avx2": ["-mavx2", "-mfma"],
}
is_x86 = platform.machine().lower() in ("x86_64", "amd64")
targets = {"default": [], **(X86 if is_x86 else {})}

setup(
    ext_modules=[
        Extension(
            f"asr.nn.kernels.native.recurrence_{name}",
            sources=[SOURCE],
            language="c++",
            extra_compile_args=[*FLAGS, *flags],
            extra_link_args=["-pthread"],
            optional=True,
        )
        for name, flags in targets.items()
    ]
)
