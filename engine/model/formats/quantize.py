"""K-quants: a GGUF file from another one, by llama.cpp's own quantiser through llama-cpp-python, in a process of its own:
`python -m engine.model.formats.quantize SOURCE TARGET TYPE`. Without that package they are refused, with what to install.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from engine.contract.errors import InputError, Missing
from engine.contract.words import tr
from engine.model.formats.gguf_file import K_QUANTS
from engine.model.formats.waiting import wait_for
from engine.project.launch import environment

BINDING = "llama_cpp"


def available() -> bool:
    """Whether the binding is installed. Imports nothing."""
    return importlib.util.find_spec(BINDING) is not None


def check() -> None:
    """Raises Missing without the binding."""
    if not available():
        raise Missing(tr("Q4_K_M and Q6_K are made by llama.cpp, and no binding that can is installed here."),
                      tr("Install llama-cpp-python (pip install \"fledge[llama-cpp]\"), or choose Q8_0, which needs nothing more."),
                      code="no_llama_cpp")


def quantize(source: Path, target: Path, kind: str, threads: int, heed: Callable[[], None] = lambda: None) -> None:
    """`heed` is called a few times a second; what it raises ends the work and comes through. Raises Missing, InputError."""
    check()
    child = subprocess.Popen([sys.executable, "-m", "engine.model.formats.quantize", str(source), str(target), kind, str(threads)],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    wait_for(child, heed)
    if child.returncode != 0 or not target.is_file():
        raise InputError(tr("llama.cpp could not make {kind} of this model.", kind=kind.upper()),
                         tr("Its matrices may be too small for it; choose Q8_0."), code="quantize")


def main(arguments: Sequence[str]) -> int:
    """0 when the file is written."""
    llama_cpp = import_module(BINDING)
    source, target, kind, threads = arguments
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = int(K_QUANTS[kind]), int(threads)
    return int(llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), params))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
