"""Models made to do harm: each ends in a typed error with a plain sentence, within limits of time and memory, and nothing of it is run."""

import os
import shutil
import time

import psutil
import pytest

from engine.contract.errors import FledgeError, FormatError, NotFound, Stopped
from engine.model.formats import import_watch
from tests.engine.model.formats import hostile_models as hostile
from tests.engine.model.formats.foreign import model, take_over, tokenizer
from tests.running import children


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "model"
    model("llama").save_pretrained(folder)
    tokenizer("gpt2").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(sound, tmp_path, monkeypatch):
    monkeypatch.setenv(hostile.MARK, str(tmp_path / "was-run"))
    shutil.copytree(sound, tmp_path / "model")
    yield tmp_path / "model"
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("spoil", hostile.QUICK, ids=lambda f: f.__name__)
def test_a_trap_is_refused_with_a_sentence_at_no_cost(spoil, folder, tmp_path):
    spoil(folder)
    code, words = hostile.QUICK[spoil]
    before, began = psutil.Process().memory_info().rss, time.monotonic()
    with pytest.raises(FledgeError) as told:
        take_over(folder, tmp_path / "out")
    assert told.value.code == code and words in told.value.sentence and told.value.remedy
    assert "\n" not in told.value.sentence and len(told.value.sentence) < 400 and str(tmp_path) not in told.value.sentence
    assert psutil.Process().memory_info().rss - before < 150_000_000 and time.monotonic() - began < 5


@pytest.mark.parametrize("name", hostile.HOSTILE_GGUF)
def test_a_gguf_header_that_lies_allocates_nothing(name, tmp_path):
    path = tmp_path / "trap.gguf"
    path.write_bytes(hostile.HOSTILE_GGUF[name])
    before, began = psutil.Process().memory_info().rss, time.monotonic()
    with pytest.raises(FledgeError) as told:
        take_over(path, tmp_path / "out")
    assert told.value.code in ("corrupt", "unsupported") and told.value.remedy
    assert psutil.Process().memory_info().rss - before < 20_000_000 and time.monotonic() - began < 2


@pytest.mark.parametrize("spoil", hostile.SLOW, ids=lambda f: f.__name__)
def test_what_eats_time_or_memory_costs_only_its_own_process(spoil, folder, tmp_path):
    spoil(folder)
    out = tmp_path / "out"
    out.mkdir()
    began = time.monotonic()
    with pytest.raises(FledgeError) as told:
        import_watch.read(folder, out, "as_is", limits=import_watch.Limits(memory=600_000_000, idle_seconds=4))
    assert told.value.code in ("killed", "pickle", "format") and hostile.SLOW[spoil] in told.value.sentence and told.value.remedy
    assert time.monotonic() - began < 40 and not any(out.iterdir())
    assert not children("import_child")


def test_a_template_that_looks_around_sees_nothing(folder, tmp_path):
    hostile.template_that_looks_around(folder)
    facts = take_over(folder, tmp_path / "out")
    assert not facts["chat"] and facts["notes"]


def test_the_reading_process_has_no_network_and_starts_nothing(tmp_path):
    """What a parser would have to call is forbidden there."""
    import subprocess
    import sys
    code = ("import socket, subprocess, os\nfrom engine.text.read_child import confine, Forbidden\n"
            "confine(10**9)\n"
            "for act in (lambda: socket.create_connection(('::1', 9)), lambda: subprocess.run(['true']), lambda: os.system('true')):\n"
            "    try:\n        act()\n        print('done')\n    except Forbidden:\n        print('refused')\n")
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert made.stdout.split() == ["refused"] * 3, made.stderr


def test_a_sound_model_passes_the_same_way(folder, tmp_path):
    out, heard = tmp_path / "out", []
    out.mkdir()
    facts = import_watch.read(folder, out, "bfloat16", report=lambda phase, done, total: heard.append((phase, done, total)))
    assert facts["dtype"] == "bfloat16" and facts["peak"] > 0
    assert list(dict.fromkeys(phase for phase, _, _ in heard)) == ["look", "tokenizer", "hash", "convert"]
    assert heard[-1][1] == heard[-1][2] == facts["bytes"]
    assert sorted(p.name for p in out.iterdir()) == ["config.json", "generation_config.json", "model.safetensors", "source.json",
                                                      "tokenizer.json", "tokenizer_config.json"]
    before = import_watch.look(folder)
    assert before["parameters"] == facts["parameters"] and before["layers"] == 3


def test_a_stop_ends_the_reading_process(folder, tmp_path):
    def stop():
        raise Stopped()
    with pytest.raises(Stopped):
        import_watch.read(folder, tmp_path, "as_is", check=stop)
    assert not children("import_child")


def test_links_inside_the_folder_and_of_the_hubs_cache_are_followed(sound, tmp_path):
    cache = tmp_path / "models--a--b"
    (cache / "blobs").mkdir(parents=True)
    snapshot = cache / "snapshots/abc"
    snapshot.mkdir(parents=True)
    for n, path in enumerate(sound.iterdir()):
        shutil.copy(path, cache / f"blobs/{n}")
        (snapshot / path.name).symlink_to(f"../../blobs/{n}")
    assert take_over(snapshot, tmp_path / "out")["parameters"] > 0
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../../elsewhere.json")
    shutil.copy(sound / "config.json", tmp_path / "elsewhere.json")
    with pytest.raises(FormatError, match="leads out"):
        take_over(snapshot, tmp_path / "out2")


def test_a_file_that_cannot_be_read_is_told_as_such(folder, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (folder / "model.safetensors").chmod(0)
    with pytest.raises(OSError):
        take_over(folder, tmp_path / "out")


def test_nothing_there_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        take_over(tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="config.json"):
        take_over(tmp_path / "empty", tmp_path / "out")
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(FormatError, match="neither"):
        take_over(tmp_path / "text.txt", tmp_path / "out")
