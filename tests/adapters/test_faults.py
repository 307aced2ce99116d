"""Killed or out of disk in the midst of an import, a pull, a push, an export: nothing half-made is listed, a second try works."""

import os
import signal
import sys
import time
import traceback
from pathlib import Path

import pytest

from adapters.__main__ import main
from adapters.intake import import_adapter
from adapters.library import list_adapters, read_adapter
from adapters.package import PushOptions, export_zip
from adapters.pull import look, pull
from adapters.push import plan_push
from common.files import publish
from common.paths import adapters_folder, home
from models.hub.client import account_of
from tests.adapters.making import put
from tests.faults import command, fill, is_a_sentence, page_says

TOUCHES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.copyfile")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def killed_at(number: int, root: Path, work) -> int:
    """Do `work` in a fork that is killed at its `number`-th touch of something below `root`; its exit code."""
    pid = os.fork()
    if pid == 0:
        touches = 0

        def hook(event: str, arguments: tuple) -> None:
            nonlocal touches
            if event in TOUCHES and any(str(one).startswith(str(root)) for one in arguments[:2]):
                touches += 1
                if touches == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_everywhere(root: Path, work, every: int = 1) -> int:
    """Kill `work` at each `every`-th touch until it is done; what is listed is whole at every moment. Returns the kills."""
    for number in range(1, 1000, every):
        code = killed_at(number, root, work)
        for adapter in list_adapters():
            assert {path.name for path in adapter.folder.iterdir()} >= {"adapter_config.json", "tokenizer.json"}
            assert adapter.loss_after is not None
        if code == 0:
            return number // every
        assert code == -signal.SIGKILL
    raise AssertionError("it never ends")


def forget_remains(monkeypatch) -> None:
    """As an hour later."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 7200)


def remains() -> list[str]:
    found = [*adapters_folder().iterdir(), *home().glob("tmp*")] if adapters_folder().exists() else []
    return sorted(path.name for path in found if path.name.endswith((".partial", ".old")) or path.parent == home())


def test_an_import_that_is_killed_anywhere_leaves_nothing_half_made(made, tmp_path, monkeypatch):
    zipped = export_zip(read_adapter(made), tmp_path / "made.zip")
    assert kill_everywhere(home(), lambda: import_adapter(zipped, "mine"), every=2) > 5
    assert remains(), "a kill leaves something"
    forget_remains(monkeypatch)
    import_adapter(zipped, "again")
    assert remains() == [] and "again" in [adapter.name for adapter in list_adapters()]


def test_a_pull_that_is_killed_anywhere_leaves_nothing_half_made(hub, made, monkeypatch):
    hub.add("alice/mine", made)
    offer = look("alice/mine", hub.alice)
    assert kill_everywhere(adapters_folder(), lambda: pull(offer, hub.alice, name="mine"), every=4) > 3
    forget_remains(monkeypatch)
    pull(offer, hub.alice, name="again")
    assert remains() == [] and "again" in [adapter.name for adapter in list_adapters()]


def test_a_push_that_is_killed_anywhere_leaves_the_repository_whole(hub, made):
    put("mine", made)
    account = account_of(hub.alice)

    def push() -> None:
        plan_push(read_adapter(adapters_folder() / "mine"), account, PushOptions()).push()

    for number in range(1, 1000, 6):
        code = killed_at(number, home(), push)
        files = set(hub.repositories["alice/mine"].files) if "alice/mine" in hub.repositories else set()
        whole = {"adapter_config.json", "adapter_model.safetensors", "README.md"}
        assert not files - {".gitattributes"} or files >= whole
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert number > 6 and "adapter_model.safetensors" in files


def test_a_zip_whose_making_is_killed_anywhere_is_whole_or_not_there(made, tmp_path, monkeypatch):
    adapter, target = read_adapter(made), tmp_path / "out" / "made.zip"
    for number in range(1, 1000, 3):
        code = killed_at(number, tmp_path / "out", lambda: export_zip(adapter, target))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        if target.exists():  # the last thing that was left to do was to tidy up
            break
    assert number > 3 and import_adapter(target, "mine").adapter.name == "mine"
    target.unlink()
    forget_remains(monkeypatch)
    export_zip(adapter, target)
    assert [path.name for path in target.parent.iterdir()] == ["made.zip"]


def test_a_publish_that_is_killed_between_its_renames_loses_no_adapter(made, monkeypatch):
    put("mine", made)
    new = put("mine.partial", made)
    killed = 0
    for number in range(1, 20):
        killed += killed_at(number, adapters_folder(), lambda: publish(new, adapters_folder() / "mine")) != 0
        if not (adapters_folder() / "mine").exists():
            break
    assert killed and [adapter.name for adapter in list_adapters()] == []
    forget_remains(monkeypatch)
    import_adapter(made, "other")
    assert sorted(adapter.name for adapter in list_adapters()) == ["mine", "other"] and remains() == []


@pytest.mark.slow
def test_a_merge_and_a_gguf_that_are_killed_leave_nothing_and_a_second_try_works(
    made, tiny_base, tmp_path, monkeypatch
):
    import torch

    folder = put("mine", made)
    config = (folder / "adapter_config.json").read_text().replace("tests/tiny-base", str(tiny_base))
    (folder / "adapter_config.json").write_text(config)
    target = tmp_path / "out" / "merged"

    def merge() -> None:
        torch.set_num_threads(1)  # a fork has none of its parent's threads
        assert main(["merge", "mine", "--to", str(target), "--gguf"]) == 0

    for number in (3, 30):
        assert killed_at(number, target.parent / ".merging-", merge) == -signal.SIGKILL
        assert not [path for path in target.parent.iterdir() if not path.name.startswith(".")]
    for left in target.parent.iterdir():
        for path in [*left.rglob("*"), left]:
            os.utime(path, (1, 1))
    assert killed_at(10**6, target.parent / ".merging-", merge) == 0
    assert sorted(path.name for path in target.parent.iterdir()) == ["merged", "merged-gguf"]


def test_a_full_disk_during_an_import_is_a_sentence_and_leaves_nothing(small_disk, made, tmp_path, monkeypatch):
    zipped = export_zip(read_adapter(made), tmp_path / "made.zip")
    fill(small_disk, left=100_000)
    assert "No space left on device" in page_says(lambda: import_adapter(zipped, "mine"))
    assert is_a_sentence(command("adapters", "import", str(zipped)), "No space left on device")
    assert list(adapters_folder().iterdir()) == []
    (small_disk / "filler").unlink()
    assert import_adapter(zipped, "mine").adapter.name == "mine"


@pytest.mark.slow
def test_a_full_disk_during_gguf_is_a_sentence_and_leaves_no_half_of_a_file(small_disk, made, tiny_base, tmp_path):
    from adapters.export.gguf_file import write_adapter, write_models
    from adapters.export.merge import merge_adapter

    merged = merge_adapter(read_adapter(made), tiny_base, tmp_path / "merged", "bf16")
    fill(small_disk, left=1_000_000)
    assert "The disk is full." in page_says(lambda: write_models(merged.folder, small_disk / "gguf"))
    fill(small_disk, left=10_000)
    target = small_disk / "gguf" / "a.gguf"
    assert "was not written completely" in page_says(lambda: write_adapter(read_adapter(made), tiny_base, target))
    assert list((small_disk / "gguf").iterdir()) == []
    (small_disk / "filler").unlink()


CONTENTS = [b"", b"[" * 200_000, bytes(99), b"\xff\xfe", b"[1]", b'"text"', b'{"created": [], "r": {}}', None]


@pytest.mark.parametrize("name", ["studio.json", "metrics.json", "training_config.yaml", "adapter_config.json"])
@pytest.mark.parametrize("content", CONTENTS)
def test_whatever_became_of_a_file_of_an_adapter_all_are_listed(made, name, content, capsys):
    put("fine", made)
    hurt = put("hurt", made) / name
    hurt.unlink(missing_ok=True)
    hurt.mkdir() if content is None else hurt.write_bytes(content)
    assert main(["list"]) == 0
    listed = capsys.readouterr()
    assert "fine " in listed.out and "hurt" in listed.out + listed.err
    if name in ("metrics.json", "studio.json") and content != b'{"created": [], "r": {}}':
        assert main(["show", "hurt"]) == 0 and f"{name} cannot be read" in capsys.readouterr().out
