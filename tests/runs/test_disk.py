"""What one owner may keep on a shared disk; what they deleted goes first."""

import shutil
from dataclasses import replace

import pytest

from common.errors import UserError
from common.paths import adapters_folder, evaluations_folder, runs_folder
from models.family import shape_of
from runs import disk
from runs.config import TrainConfig
from runs.history import delete, deleted
from runs.launcher import create_run


@pytest.fixture
def config(tiny_base, tmp_path) -> TrainConfig:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Q", "completion": "A"}\n' * 1000)  # 36 kB
    return TrainConfig(name="run", base=str(tiny_base), data=str(tmp_path / "rows.jsonl"), test_sets="")


def test_launching_again_and_again_ends_at_the_kept_runs(config, monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_KEPT_RUNS", "3")
    runs = [create_run(config, "alice") for _ in range(3)]
    with pytest.raises(UserError, match="You have 3 runs; at most 3") as refused:
        create_run(config, "alice")
    assert "Delete" in refused.value.hint and len(list(runs_folder("alice").iterdir())) == 3
    create_run(config, "bob")
    delete(runs[0])
    create_run(config, "alice")


def test_the_bytes_that_a_user_keeps_are_limited_with_their_data_adapters_and_evaluations(config, monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_KEPT_BYTES", "100000")
    runs = [create_run(config, "alice") for _ in range(2)]
    with pytest.raises(UserError, match="MB are allowed here"):
        create_run(config, "alice")
    shutil.rmtree(runs[0].folder)
    for folder in (adapters_folder("alice") / "one", evaluations_folder("alice") / "one"):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(bytes(50_000))
        with pytest.raises(UserError, match="MB are allowed here"):
            create_run(config, "alice")
        shutil.rmtree(folder)
    create_run(config, "alice")


def test_the_trash_makes_room_the_oldest_first_and_only_as_far_as_needed(config, monkeypatch):
    first, second = create_run(config, "alice"), create_run(config, "alice")
    delete(first)
    kept = delete(second)
    monkeypatch.setenv("STUDIO_MAX_KEPT_BYTES", "100000")
    create_run(config, "alice")
    assert deleted("alice") == [kept]


def test_a_run_of_whole_weights_starts_only_where_its_model_and_two_checkpoints_have_room(
    config, tiny_base, monkeypatch
):
    whole, weights = replace(config, method="full"), shape_of(tiny_base).parameters
    room = disk.DISK_NEEDED_BYTES + 100_000
    monkeypatch.setattr(disk, "_free_bytes", lambda: room)
    create_run(config)
    with pytest.raises(UserError, match="MB of disk space are free"):
        create_run(whole)
    room += weights * (4 + 2 * (4 + 8))
    create_run(whole)
    with pytest.raises(UserError, match="MB of disk space are free"):
        create_run(replace(whole, keep="best"))


def test_a_laptop_keeps_what_it_likes(config):
    assert len({create_run(config).id for _ in range(25)}) == 25
