"""Runs as they lie on the disk with a checkpoint: real weights, real torch files, their data; and the way to the Hub."""

import json
import shutil

from common.files import append_json_line, write_text
from common.paths import home, runs_folder
from models.hub.client import account_of
from runs.backup.backup import send_checkpoint

REPO = "alice/mine-checkpoints"


def make_run(made, name, step=2):
    folder = runs_folder() / name
    (folder / "data").mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.yaml", f"name: {name}\nbase: tests/tiny-base\ndata: data/data.jsonl\n")
    (folder / "data" / "data.jsonl").write_text('{"text": "a secret of alice"}\n')
    for event in ({"event": "step", "step": 1, "loss": 2.0}, {"event": "note", "message": f"in {home()}/runs"}):
        append_json_line(folder / "events.jsonl", event)
    add_checkpoint(made, folder, step)
    return folder


def add_checkpoint(made, folder, step):
    import numpy
    import torch

    checkpoint = folder / "checkpoints" / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    shutil.copy(made / "adapter_model.safetensors", checkpoint)
    config = json.loads((made / "adapter_config.json").read_text()) | {"base_model_name_or_path": str(home() / "base")}
    (checkpoint / "adapter_config.json").write_text(json.dumps(config))
    torch.save({"state": {0: {"exp_avg": torch.ones(step)}}, "param_groups": []}, checkpoint / "optimizer.pt")
    torch.save({"last_epoch": step}, checkpoint / "scheduler.pt")
    torch.save({"numpy": numpy.random.get_state()}, checkpoint / "rng_state.pth")
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": 9}))
    (checkpoint / "README.md").write_text(f"a stub that names {home()}")
    (checkpoint / "training_args.bin").write_bytes(b"\x80\x02")
    (checkpoint / "complete").write_text(f"{step}\n")
    return checkpoint


def send(hub, run, step=2, token=None, parent=None, repo_id=REPO):
    checkpoint = run / "checkpoints" / f"checkpoint-{step}"
    return send_checkpoint(run, checkpoint, account_of(token or hub.alice), repo_id, parent)
