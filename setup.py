"""Compiles the CPU kernel, if it can, and takes the models along; all else is in pyproject.toml.

One library a width of vectors, so that a build serves any machine of its architecture. They are
plain shared libraries, loaded through ctypes: nothing of Python or torch is compiled in. Where no
C++ compiler is found the installation goes on without them, and training is slower.
"""

import platform
import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

SOURCE = "asr/nn/kernels/native/recurrence.cpp"
FLAGS = ["-O3", "-g0", "-std=c++17", "-fno-math-errno", "-pthread", "-Wno-psabi"]
AVX512 = ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma"]
X86 = {
    "avx512vnni": [*AVX512, "-mavx512vnni"],
    "avx512": AVX512,
    "avx2": ["-mavx2", "-mfma"],
}
is_x86 = platform.machine().lower() in ("x86_64", "amd64")
targets = {"default": [], **(X86 if is_x86 else {})}


class BuildWithModels(build_py):
    """Puts ``models/`` into the package, where an installation finds it."""

    def run(self):
        super().run()
        models = Path(__file__).parent / "models"
        if models.is_dir() and not self.editable_mode:
            shutil.copytree(models, Path(self.build_lib, "asr", "models"), dirs_exist_ok=True)


setup(
    cmdclass={"build_py": BuildWithModels},
    ext_modules=[
        Extension(
            f"asr.nn.kernels.native.recurrence_{name}",
            sources=[SOURCE],
            depends=sorted(map(str, Path(SOURCE).parent.glob("*.h"))),
            language="c++",
            extra_compile_args=[*FLAGS, *flags],
            extra_link_args=["-pthread"],
            optional=True,
        )
        for name, flags in targets.items()
    ],
)
