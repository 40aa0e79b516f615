"""Which models a server of OpenAI's protocol has, by its address. For the window: `python -m engine.generators.server_models look` with
{"address", "host"} on stdin gives {"models": [..]} or {"error", "sentence", "remedy"}. Only that address is asked, and only when it may be.
"""

import dataclasses
import json
import sys

from engine.contract.errors import FledgeError
from engine.generators import reach
from engine.generators.openai_provider import OpenAIProvider

SECONDS = 10.0


def look(address: str, allowed_host: str = "") -> list[dict[str, object]]:
    """The models of one server. SettingError for an address that leaves the machine unconfirmed; Missing or MachineError without a
    server."""
    address = reach.checked(address.strip().rstrip("/"), allowed_host)
    provider = OpenAIProvider(f"{address} ", "", address, timeout=SECONDS)
    try:
        return [dataclasses.asdict(model) for model in provider.models()]
    finally:
        provider.close()


def main() -> int:
    asked = json.loads(sys.stdin.read() or "{}")
    try:
        answer: dict[str, object] = {"models": look(str(asked.get("address", "")), str(asked.get("host", "")))}
    except FledgeError as wrong:
        answer = {"error": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy}
    print(json.dumps(answer, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
