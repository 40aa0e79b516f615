"""Runs inside the image that packaging/build_verifier_image.py builds; componentize-py takes `WitWorld` from here."""

from . import preload as preload
from .denials import close
from .guest import WitWorld as WitWorld

close()     # last: what is imported after this is not found
