"""Which addresses are this machine, and which may be asked: its own, and the one host that the person typed and confirmed. No network.

A number of the loopback network or "localhost" (where that resolves to loopback alone) is this machine. Every other name or number, those
of the local network included, needs the confirmation. Names and passwords in addresses are refused.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from engine.contract.errors import SettingError
from engine.contract.words import tr


def checked(address: str, allowed_host: str = "") -> str:
    """`address`, if it may be asked. SettingError with code "bad_address" (none at all) or "not_local" (needs to be confirmed; the host is
    in its sentence)."""
    example = tr("Write it as http://127.0.0.1:1234/v1.")
    try:
        parts = urlsplit(address)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError as wrong:
        raise SettingError(tr("{address} is not an address.", address=address), example, code="bad_address") from wrong
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() or c in "\\\x00" for c in address):
        raise SettingError(tr("{address} is not an address.", address=address), example, code="bad_address")
    if parts.username is not None or parts.password is not None:
        raise SettingError(tr("An address with a name or password in it is not used."), tr("Write it without: http://HOST:PORT/v1."),
                           code="bad_address")
    if parts.query or parts.fragment:
        raise SettingError(tr("{address} is not an address.", address=address), example, code="bad_address")
    if host == allowed_host.strip().strip("[]").lower() or is_own(host):
        return address
    raise SettingError(tr("{host} is not this machine, or not for certain. Texts would leave it.", host=host),
                       tr("Use an address that begins with http://127.0.0.1, or confirm {host} (in a terminal: --set allowed_host={host}).",
                          host=host),
                       code="not_local")


def is_own(host: str) -> bool:
    """Whether a host is this machine and nothing else. Only "localhost" is looked up: other names may lead elsewhere tomorrow."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        if host != "localhost":
            return False
    try:
        return all(ipaddress.ip_address(str(found[4][0])).is_loopback for found in socket.getaddrinfo(host, None))
    except OSError:
        return False
