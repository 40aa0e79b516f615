"""The process that runs a GGUF file: `python -m engine.generators.gguf_child`. One JSON line comes in (path, context, slots, key, binding),
one goes out (the address); then it answers OpenAI's chat requests on loopback, to whoever knows the key, until its input closes.

It ends without the interpreter's own end, where bindings were seen to crash.
"""

import json
import os
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import Any


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the binding prints is no answer of ours
    with suppress(OSError, AttributeError):
        os.nice(5)
    address, keep = {"xllamacpp": _xllamacpp, "llama_cpp": _llama_cpp}[asked["binding"]](asked)
    out.write(json.dumps({"url": address}) + "\n")
    out.flush()
    sys.stdin.read()  # until the parent is gone
    assert keep  # to the very end
    os._exit(0)


def _xllamacpp(asked: dict[str, Any]) -> tuple[str, Any]:
    """llama.cpp's own server inside this process."""
    xllamacpp = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = asked["path"]
    params.n_ctx, params.n_parallel, params.port = asked["context"] * asked["slots"], asked["slots"], 0
    params.api_keys, params.ui, params.endpoint_slots, params.ctx_shift = [asked["key"]], False, False, False
    params.verbosity = 1
    server = xllamacpp.Server(params)
    return server.listening_address, server


def _llama_cpp(asked: dict[str, Any]) -> tuple[str, Any]:
    """llama-cpp-python behind a few lines of HTTP: it has no server of its own without further packages. One answer at a time."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
    model = import_module("llama_cpp").Llama(asked["path"], n_ctx=asked["context"], verbose=False, n_gpu_layers=-1)
    one = threading.Lock()

    def complete(body: dict[str, Any]) -> dict[str, Any]:
        wanted = body.get("response_format")
        form = {"type": "json_object", "schema": wanted["json_schema"]["schema"]} if wanted else None
        with one:
            return model.create_chat_completion(body["messages"], temperature=body.get("temperature", 0.7), seed=body.get("seed"),
                                                max_tokens=body.get("max_tokens"), stop=body.get("stop") or [], response_format=form,
                                                top_k=0, top_p=body.get("top_p", 1.0), min_p=0.0)

    async def chat(http: Request) -> Response:
        if http.headers.get("authorization") != f"Bearer {asked['key']}":
            return JSONResponse({"error": {"message": "The key is wrong."}}, 401)
        try:
            return JSONResponse(await run_in_threadpool(complete, await http.json()))
        except ValueError as wrong:  # its word for prompts past the context
            return JSONResponse({"error": {"message": str(wrong)}}, 400 if "context window" in str(wrong) else 500)
    import socket
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)  # who asks before the loop runs waits
    web = uvicorn.Server(uvicorn.Config(Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])]), log_level="warning",
                                        lifespan="off", ws="none"))
    threading.Thread(target=lambda: web.run(sockets=[listening]), daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}", web


if __name__ == "__main__":
    main()
