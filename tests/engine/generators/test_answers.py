"""JSON read out of what models really write."""

import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from engine.contract.errors import FormatError
from engine.generators.answers import Unreadable, check_schema, mismatch, read_json, without_thinking

QA = {"type": "object", "required": ["question", "score"], "additionalProperties": False,
      "properties": {"question": {"type": "string", "minLength": 3}, "score": {"type": "integer", "minimum": 1, "maximum": 10}}}


@pytest.mark.parametrize("text", [
    '{"question": "Who built it?", "score": 7}',
    '```json\n{"question": "Who built it?", "score": 7}\n```',
    'Sure! Here is the JSON you asked for:\n\n{"question": "Who built it?", "score": 7}\n\nLet me know if you need more.',
    '{"question": "Who built it?", "score": 7, "confidence": 0.93, "notes": {"a": [1, 2]}}',
    '<think>\nMaybe {"question": "What colour is it?", "score": 2}? No.\n</think>\n{"question": "Who built it?", "score": 7}',
    'First draft: {"question": "What colour is it?", "score": 2}\nBetter: {"question": "Who built it?", "score": 7}',
    'Okay, the user wants {"question": "What is it?", "score": 1}.\n</think>\n\n{"question": "Who built it?", "score": 7}',
    '{“question”: “Who built it?”, “score”: 7}',
    '{"question": "Who built it?", "score": 7,}',
    '{"question": "Who built it?", "score": "7/10"}',
    '{"question": "Who built it?", "score": 7.0}',
    '{"Question": " Who built it? ", "SCORE": "7"}',
    'Use {braces} for names. {"question": "Who built it?", "score": 7}',
])
def test_what_was_asked_for_is_found_in_what_models_write(text: str) -> None:
    assert read_json(text, QA) == {"question": "Who built it?", "score": 7}


def test_line_ends_quotes_and_braces_inside_texts_stay() -> None:
    schema = {"type": "object", "required": ["code"], "properties": {"code": {"type": "string"}}}
    assert read_json('{"code": "if (a) {\n  say(\\"“hi”\\"); // }\n}"}', schema) == {"code": 'if (a) {\n  say("“hi”"); // }\n}'}


@pytest.mark.parametrize(("text", "kind"), [
    ("", "empty"),
    ("   \n", "empty"),
    ("<think>I wonder whether {\"question\": \"Who built it?\", \"score\": 7}", "empty"),
    ("I would ask who built it.", "no_json"),
    ('{"question": "Who bui', "cut"),
    ('{"question": "Who built it?"}', "schema"),
    ('{"question": "Who built it?", "score": 11}', "schema"),
    ('{"question": "Who built it?", "score": NaN}', "schema"),
    ('{"question": "Who built it?", "score": "seven"}', "schema"),
    ('{"question": "Who built it?", "score": true}', "schema"),
    ('["Who built it?", 7]', "no_json"),
])
def test_what_does_not_fit_is_told_by_kind_and_nothing_is_made_up(text: str, kind: str) -> None:
    with pytest.raises(Unreadable) as wrong:
        read_json(text, QA)
    assert wrong.value.kind == kind


def test_deep_and_endless_replies_are_read_in_bounded_time() -> None:
    began = time.perf_counter()
    for text in ("{" * 100_000, '{"a":' * 50_000, "[" * 100_000 + "{", '{"question": "' + "a" * 300_000):
        with pytest.raises(Unreadable):
            read_json(text, QA)
    assert time.perf_counter() - began < 20


def test_a_schema_that_leads_to_an_address_is_refused_and_nothing_is_fetched(tmp_path: Path) -> None:
    fetched: list[str] = []

    class Schemas(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "object"}')

    (tmp_path / "s.json").write_text('{"type": "object"}')
    with HTTPServer(("127.0.0.1", 0), Schemas) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        for place in (f"http://127.0.0.1:{server.server_port}/s.json", (tmp_path / "s.json").as_uri()):
            with pytest.raises(FormatError):
                check_schema({"$ref": place, "type": "object"}, "ask")
        server.shutdown()
        thread.join()
    assert not fetched
    with pytest.raises(FormatError):
        check_schema({"type": "strin"}, "ask")
    with pytest.raises(FormatError):
        check_schema({"type": "array"}, "ask")
    check_schema(QA, "ask")


def test_a_pattern_cannot_hang_the_check() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}, "required": ["a"]}
    began = time.perf_counter()
    assert mismatch({"a": "a" * 5000 + "!"}, schema)
    assert time.perf_counter() - began < 1


def test_thinking_goes_and_an_answer_about_it_stays() -> None:
    assert without_thinking("<think>hm</think>\n\nFour.") == "Four."
    assert without_thinking("hm, so\n</think>\nFour.") == "Four."
    assert without_thinking("<think>never ends") == ""
    assert without_thinking("I think it is four.") == "I think it is four."
    assert without_thinking("<thinking>a</thinking>Four <b>only</b>.") == "Four <b>only</b>."
