"""Imports into the image all that verifiers and programs may use: inside the sandbox there are no files to import from later."""

import sys
import warnings
from importlib import import_module
from types import ModuleType

STANDARD = """
re math json fractions decimal itertools collections collections.abc io contextlib random statistics heapq functools datetime string bisect
operator dataclasses typing textwrap unicodedata copy enum abc time traceback cmath numbers difflib ast unittest unittest.mock doctest queue
types weakref array struct base64 binascii hashlib zlib csv html html.parser html.entities xml.etree.ElementTree calendar pprint reprlib
graphlib keyword token tokenize inspect warnings logging pathlib os os.path fnmatch secrets hmac uuid threading asyncio concurrent.futures
sched argparse configparser codecs locale gettext zoneinfo ipaddress urllib.parse linecache dis opcode pickle copyreg marshal timeit
colorsys shlex optparse platform errno signal gc atexit symtable encodings.utf_8 encodings.ascii encodings.latin_1 encodings.utf_16
encodings.utf_32 encodings.cp1252 encodings.idna encodings.hex_codec encodings.rot_13 encodings.unicode_escape encodings.raw_unicode_escape
_strptime _pydecimal stringprep bz2 lzma tempfile shutil glob subprocess socket select
""".split()
LATE = """
antlr4.LL1Analyzer antlr4.dfa.DFASerializer sympy.abc sympy.assumptions.facts sympy.assumptions.handlers.calculus
sympy.assumptions.handlers.common sympy.assumptions.handlers.matrices sympy.assumptions.handlers.ntheory sympy.assumptions.handlers.order
sympy.assumptions.handlers.sets sympy.assumptions.lra_satask sympy.assumptions.predicates.matrices sympy.assumptions.predicates.sets
sympy.assumptions.satask sympy.assumptions.wrapper sympy.combinatorics sympy.combinatorics.galois sympy.combinatorics.permutations
sympy.concrete.delta sympy.discrete.recurrences sympy.integrals.heurisch sympy.integrals.manualintegrate sympy.integrals.risch
sympy.logic.algorithms.dpll sympy.logic.algorithms.dpll2 sympy.logic.algorithms.lra_theory sympy.matrices.expressions.applyfunc
sympy.physics.units sympy.physics.units.util sympy.physics.matrices sympy.polys.dispersion sympy.polys.distributedmodules
sympy.polys.domains.old_fractionfield sympy.polys.domains.old_polynomialring sympy.polys.domains.quotientring
sympy.polys.numberfields.resolvent_lookup sympy.sets.handlers.add sympy.sets.handlers.functions sympy.sets.handlers.issubset
sympy.sets.handlers.mul sympy.sets.handlers.power sympy.sets.setexpr sympy.tensor.array.array_derivatives sympy.tensor.tensor
""".split()
"""What sympy imports only in the middle of its work."""
MATHEMATICS = ("mpmath", "sympy", "latex2sympy2_extended", "math_verify")


def _take(name: str) -> None:
    try:
        import_module(name)
    except ImportError:     # some parts of the standard library are not built for WebAssembly
        pass


warnings.simplefilter("ignore")
for _name in STANDARD:
    _take(_name)

# There is no ctypes in WebAssembly; sympy asks it for the width of a C long and nothing else.
_ctypes = ModuleType("ctypes")
_ctypes.c_long, _ctypes.sizeof = int, lambda kind: 4
sys.modules["ctypes"] = _ctypes
for _name in (*MATHEMATICS, *LATE):
    import_module(_name)

# Caches of the grammar are filled while the image is built, not in every call.
_math = import_module("math_verify")
for _text in (r"$\boxed{\frac{1}{2}}$", r"$x^2+\sqrt{3}\cdot\pi$", r"$\{1,2\}\cup(3,\infty)$", "the answer is 1,234.50", r"$x=5$",
              r"$\begin{pmatrix}1&2\\3&4\end{pmatrix}$", r"$\left[0,\frac{\pi}{4}\right)$", r"$50\%$", r"$2\text{ cm}$", r"$x\le 3$",
              r"$\int_0^1 x^2 dx$", r"$\log_2 8+\sin(x)$", r"$(1,-2,3)$", r"$10^{-3}$"):
    _gold = _math.parse(_text, parsing_timeout=None)
    _math.verify(_gold, _math.parse(_text, parsing_timeout=None), timeout_seconds=None)
warnings.resetwarnings()
