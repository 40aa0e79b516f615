"""Letting other programs in: on which port the local server listens while the switch is on, and with which token. No widgets, no server.

The token is made once for this person and kept in a file that only they may read, so that what was set up in another program stays valid.
"""

from pathlib import Path

from desktop.settings import Settings
from engine.project import files, layout
from engine.serve import address

PORT = 8431
TOKEN_FILE = "server-token"


def token_file() -> Path:
    return layout.user_state() / TOKEN_FILE


def lasting_token() -> Path:
    """The file of the person's token, made if there is none."""
    file = token_file()
    if not file.is_file():
        new_token()
    return file


def new_token() -> None:
    """Another token: programs that have the old one are locked out once the server has it."""
    files.write_bytes(token_file(), address.new_token().encode(), mode=0o600)


def port(settings: Settings) -> int:
    kept = settings.get("serve.port", PORT)
    return kept if isinstance(kept, int) and 1024 <= kept <= 65535 else PORT


def asks_token(settings: Settings) -> bool:
    return bool(settings.get("serve.token", True))


def options(settings: Settings) -> list[str]:
    """Words for the command of a server that is started now."""
    if not settings.get("serve.on"):
        return []
    key = ["--token-file", str(lasting_token())] if asks_token(settings) else ["--no-token"]
    return ["--port", str(port(settings)), *key]
