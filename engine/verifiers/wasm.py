"""WebAssembly without a single way out: the settings, the imports that are answered by constants, and one instance with its limits.

Only the locked-down process (sandbox_child.py) loads this, because only it needs wasmtime. Limits are fuel, which counts instructions and
so stops at the same place in every run, and memory. No clock, file, socket or random number is linked; what CPython asks for at its start
gets constants, all else traps.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from wasmtime import Config, Engine, Store, WasmtimeError
from wasmtime.component import Component, Linker, Record

STACK = 2 << 20
"""Bytes of the stack: enough for a thousand Python calls into each other, gone long before the process's own."""
RESERVED = 4 << 30


def engine() -> Engine:
    config = Config()
    config.consume_fuel = True
    config.max_wasm_stack = STACK
    config.memory_init_cow = True
    config.memory_reservation = RESERVED
    config.cranelift_opt_level = "speed"
    config.parallel_compilation = True
    config.wasm_threads = False
    return Engine(config)


# end of settings: what stands above decides whether compiled code can be used again (image.py)

RANDOM_AT_ONCE = 1 << 16
START_FUEL = 10**9


class Ended(Exception):
    """The instance ended without an answer: `kind` is timeout, stack or crash. It cannot be used again."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def compile_image(image: Path, into: Path) -> None:
    into.write_bytes(bytes(Component(engine(), image.read_bytes()).serialize()))


class Image:
    """The compiled image, ready for instances. `memory`: bytes one instance may hold."""

    def __init__(self, compiled: Path, memory: int) -> None:
        self.engine, self.memory = engine(), memory
        self.component = Component.deserialize_file(self.engine, str(compiled))
        self.linker = _link_nothing(self.engine, self.component)

    def instance(self) -> "Instance":
        return Instance(self)


class Instance:
    """One interpreter, as it was when the image was built. `ask` may be called again until it raises Ended."""

    def __init__(self, image: Image) -> None:
        self.store = Store(image.engine)
        self.store.set_limits(memory_size=image.memory)
        self.store.set_fuel(START_FUEL)
        self._instance = image.linker.instantiate(self.store, image.component)
        function = self._instance.get_func(self.store, "answer")
        assert function, "the image has no `answer`"
        self._answer = function

    def ask(self, request: str, fuel: int) -> str:
        self.store.set_fuel(fuel)
        try:
            said = self._answer(self.store, request)
        except WasmtimeError as wrong:
            raise self._ended(str(wrong)) from None
        assert isinstance(said, str)
        return said

    def _ended(self, said: str) -> Ended:
        """Why it ended, by what is left of the fuel and by the last line of what wasmtime says."""
        reason = said.strip().rpartition("wasm trap: ")[2].splitlines()[-1][:300] if said.strip() else ""
        if self.store.get_fuel() == 0 or "all fuel consumed" in reason:
            return Ended("timeout", reason)
        return Ended("stack" if "stack exhausted" in reason else "crash", reason)

    def used(self, fuel: int) -> int:
        """How much of the fuel given to the last call is gone."""
        return fuel - int(self.store.get_fuel())

    def close(self) -> None:
        self.store.close()


def _link_nothing(used: Engine, component: Component) -> Linker:
    linker = Linker(used)
    linker.allow_shadowing = True
    linker.define_unknown_imports_as_traps(component)
    for name in component.type.imports(used):
        functions = _CONSTANTS.get(name.rpartition("@")[0])
        if functions:
            with linker.root() as root, root.add_instance(name) as instance:
                for key, function in functions.items():
                    instance.add_func(key, function)
    return linker


def _moment(store: Any) -> Record:
    moment = Record()
    vars(moment).update(seconds=1_700_000_000, nanoseconds=0)
    return moment


def _random_bytes(store: Any, count: int) -> bytes:
    if count > RANDOM_AT_ONCE:      # or a program could fill the memory of the process around it
        raise WasmtimeError("too many random bytes at once")
    return bytes(count)


_CONSTANTS: dict[str, dict[str, Callable[..., Any]]] = {
    "wasi:filesystem/preopens": {"get-directories": lambda store: []},
    "wasi:cli/environment": {"get-environment": lambda store: [], "get-arguments": lambda store: [], "initial-cwd": lambda store: None},
    "wasi:clocks/wall-clock": {"now": _moment, "resolution": _moment},
    "wasi:clocks/monotonic-clock": {"now": lambda store: 1_000_000, "resolution": lambda store: 1_000_000},
    "wasi:random/random": {"get-random-bytes": _random_bytes, "get-random-u64": lambda store: 4},
}
