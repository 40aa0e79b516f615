"""Builds wheels of Fledge: setuptools, once the image that verifiers run in is there (build_verifier_image.py). None is made without it.

    pip wheel . [--config-settings wheels=DIR]      wheels: build the image offline, from a folder of its packages
    pip wheel . --config-settings image=none        a wheel whose verifiers cannot run code, and say so

Editable installs need no image: packaging/bootstrap.py builds it, or says that it could not.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 -- the rest is setuptools'

HERE = Path(__file__).resolve().parent


def build_wheel(wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None) -> str:
    """As setuptools does, with the image in its place before."""
    given = dict(config_settings or {})
    wheels, image = given.pop("wheels", None), given.pop("image", "")
    if image != "none":
        build_image(wheels)
    made: str = build_meta.build_wheel(wheel_directory, given or None, metadata_directory)
    return made


def build_image(wheels: str | None) -> None:
    """Nothing where the right image is there already. Raises SystemExit where it cannot be built."""
    command = [sys.executable, str(HERE / "build_verifier_image.py"), *(["--wheels", wheels] if wheels else [])]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout}\nThe wheel needs the image that verifiers run in, and it could not be built. Make the package "
                         "index reachable, or name a folder of its packages with --config-settings wheels=DIR.")
