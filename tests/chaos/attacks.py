"""What an attacker tries: each attack takes the world and does its worst; how the app answers does not matter here.

The attacker is a guest with one address who makes as many keys as they like.
"""

import io
import json
import random
import secrets
import struct
import threading
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx

from runs.fields import label_of
from tests.chaos.client import Client, Refused
from ui.train.form_values import PASTE, UPLOAD

ADDRESS = "6.6.6.6"
BOMB = "{% for a in messages %}{{ 'a'|center(9999999999) }}{% endfor %}"
ENDLESS = "{% for a in range(9999999) %}{% for b in range(9999999) %}{% endfor %}{% endfor %}"
NAMED_HANDLERS = (
    "adapter",
    "log",
    "stop_run",
    "resume_run",
    "discard",
    "bundle",
    "delete_adapter",
    "export_adapter",
    "plan_push",
)
ROUTES = (
    "/monitoring",
    "/monitoring/summary",
    "/gradio_api/deep_link",
    "/gradio_api/proxy=http://127.0.0.1/",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/component_server",
    "/gradio_api/dev/reload",
    "/gradio_api/mcp/",
    "/docs",
    "/../../etc/passwd",
)


class Attacker:
    """Holds what an attacker knows: the address of the app, the names of the people, and paths of their uploads."""

    def __init__(self, url: str, adapter: Path, names: list[str], paths: list[str], luck: random.Random) -> None:
        self.url, self.adapter, self.names, self.paths, self.luck = url, adapter, names, paths, luck
        self.seen: list[str] = []
        self.streams: list = []
        self.done: dict[str, int] = {}
        self.client = Client(url, ADDRESS)

    def attack(self) -> None:
        """Try one of `ATTACKS`; now and then as somebody new."""
        if self.luck.random() < 0.3:
            self.client.key = secrets.token_hex(16)
        attack = self.luck.choice(ATTACKS)
        self.done[attack.__name__] = self.done.get(attack.__name__, 0) + 1
        with suppress(Refused, httpx.HTTPError, AssertionError, ValueError):
            attack(self)

    def call(self, name: str, given: dict | list) -> None:
        """Call an event and keep what comes back, a refusal too."""
        try:
            self.seen.append(json.dumps(self.client.call(name, given)))
        except Refused as refusal:
            self.seen.append(str(refusal))
            raise

    def leave(self) -> None:
        """Let go of what is held open."""
        for stream in self.streams:
            with suppress(httpx.HTTPError):
                stream.__exit__(None, None, None)
        self.streams.clear()


def bring_adapter(attacker: Attacker) -> None:
    """Import an adapter with one hostile file, then talk with it."""
    name, changes = attacker.luck.choice(list(hostile_files().items()))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in attacker.adapter.iterdir():
            if path.name not in changes:
                archive.writestr(path.name, path.read_bytes())
        for file, content in changes.items():
            archive.writestr(file, content)
    file = attacker.client.upload(f"{name}.zip", packed.getvalue())
    attacker.call("import_adapter", {"A zip with an adapter": file})
    attacker.call("chat", chat_values(attacker, "Hi", f"adapter:{name}"))


def hostile_files() -> dict[str, dict[str, bytes]]:
    """Return {name: {file of the adapter: content}}."""
    header = json.dumps(
        {"a" * 90 + str(n): {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in range(60_000)}
    )
    deep = b"[" * 200_000
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "tests/tiny-base"}
    many = {**config, "target_modules": [f"layers.{n}.q_proj" for n in range(280_007)]}
    return {
        "cut": {"tokenizer.json": b'{"version": "1.0", "model": {"type": "BPE", "vocab"'},
        "panic": {
            "tokenizer.json": json.dumps({"model": {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}}).encode()
        },
        "deep-tokenizer": {"tokenizer.json": deep},
        "bomb": {"chat_template.jinja": BOMB.encode()},
        "endless": {"chat_template.jinja": ENDLESS.encode()},
        "template-in-config": {"tokenizer_config.json": json.dumps({"chat_template": BOMB}).encode()},
        "code": {"tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": ["evil.Evil", null]}}'},
        "targets": {"adapter_config.json": json.dumps(many).encode()},
        "deep-config": {"adapter_config.json": deep},
        "header": {"adapter_model.safetensors": struct.pack("<Q", len(header)) + header.encode() + b"\0" * 4},
        "long-header": {"adapter_model.safetensors": struct.pack("<Q", 2**62) + b"{}"},
        "pickle": {"adapter_model.bin": b"\x80\x04cos\nsystem\n(S'true'\ntR."},
        "metrics": {"metrics.json": b'{"loss_before": ' + b"9" * 50_000 + b"}"},
        "yaml": {
            "training_config.yaml": b"a: &a [x,x]\n" + b"".join(b"b%d: &b%d [*a,*a]\n" % (n, n) for n in range(900))
        },
        "zeros": {"README.md": b"\0" * 30_000_000},
    }


def name_others(attacker: Attacker) -> None:
    """Ask for what belongs to others, by name and by path."""
    name = attacker.luck.choice(attacker.names)
    word = attacker.luck.choice([name, f"{name}-run-0", f"../{name}", f"/{name}", f"user-{name}/{name}"])
    handler = attacker.luck.choice(NAMED_HANDLERS)
    label = "Run" if handler in ("log", "stop_run", "resume_run", "discard", "bundle") else "Adapter"
    attacker.call(handler, {label: word})


def import_anothers_upload(attacker: Attacker) -> None:
    """Name the path of a file that somebody else has uploaded."""
    path = attacker.luck.choice(attacker.paths)
    file = {"path": path, "orig_name": "x.zip", "size": 1, "meta": {"_type": "gradio.FileData"}}
    attacker.call("import_adapter", {"A zip with an adapter": file})


def fetch_anothers_upload(attacker: Attacker) -> None:
    answer = attacker.client.http.get(f"/gradio_api/file={attacker.luck.choice(attacker.paths)}")
    attacker.seen.append(answer.text if answer.status_code == 200 else "")


def flood(attacker: Attacker) -> None:
    """200 calls at once, by 20 connections, whose answers nobody reads."""
    endpoint = attacker.client.endpoints["search_hub"]
    body = {"data": attacker.client.inputs_of(endpoint, {}), "fn_index": endpoint["id"]}

    def send() -> None:
        with suppress(httpx.HTTPError):
            for _ in range(10):
                attacker.client.http.post(
                    "/gradio_api/queue/join", json={**body, "session_hash": secrets.token_hex(8)}, timeout=20
                )

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def make_sessions(attacker: Attacker) -> None:
    """One light event in each of 100 sessions."""
    for _ in range(100):
        body = {"data": [attacker.client.key], "fn_index": attacker.client.endpoints["known_key"]["id"]}
        attacker.client.http.post(
            "/gradio_api/queue/join", json={**body, "session_hash": secrets.token_hex(8)}, timeout=20
        )


def read_slowly(attacker: Attacker) -> None:
    """Open streams and never read them."""
    for _ in range(20):
        url = f"{attacker.url}/gradio_api/heartbeat/{secrets.token_hex(8)}"
        stream = httpx.stream("GET", url, headers={"X-Forwarded-For": ADDRESS}, timeout=20)
        stream.__enter__()
        attacker.streams.append(stream)
    if len(attacker.streams) > 200:
        attacker.leave()


def send_much(attacker: Attacker) -> None:
    """A body of 30 MB, or one nested 100,000 deep."""
    content = attacker.luck.choice([b'{"data": ["' + b"x" * 30_000_000 + b'"]}', b'{"data": ' + b"[" * 100_000])
    attacker.client.http.post(
        "/gradio_api/queue/join", content=content, headers={"Content-Type": "application/json"}, timeout=60
    )


def upload_much(attacker: Attacker) -> None:
    """Fill the disk, 20 MB at a time."""
    name = attacker.luck.choice(["x.bin", "a" * 300, "../../x", "x\0y", "<img src=x onerror=alert(1)>.csv"])
    attacker.client.upload(name, secrets.token_bytes(1000) * 20_000)


def say_much(attacker: Attacker) -> None:
    """A message of 5 MB, a history of 20,000 messages, odd characters, a model that is none."""
    history = [{"role": ("user", "assistant")[n % 2], "content": "x"} for n in range(20_000)]
    text, before, model = attacker.luck.choice(
        [
            ("word " * 1_000_000, None, "base:auto"),
            ("Hi", history, "base:auto"),
            ("\ud800\0￿" * 10, None, "base:auto"),
            ("Hi", [{"role": "system", "content": {"a": []}}], "base:auto"),
            ("Hi", None, {"a": 1}),
        ]
    )
    attacker.call("chat", chat_values(attacker, text, model, before))


def talk_at_once(attacker: Attacker) -> None:
    """Thirty long answers at the same time."""

    def talk() -> None:
        with suppress(Refused, httpx.HTTPError):
            name = attacker.luck.choice(attacker.names)
            attacker.client.call("chat", chat_values(attacker, "Tell me everything.", f"adapter:{name}", None, 500))

    for _ in range(30):
        threading.Thread(target=talk, daemon=True).start()


def train_oddly(attacker: Attacker) -> None:
    """A training with settings that name others' files, machines and nonsense."""
    odd = attacker.luck.choice(
        [
            {"Base model": "/etc"},
            {"Base model": "../../x"},
            {"Start from": attacker.luck.choice(attacker.names)},
            {label_of("max_steps"): 10**12},
            {label_of("num_train_epochs"): float("1e300")},
            {"Examples to learn from": UPLOAD},
            {"Examples to learn from": PASTE, "JSON lines, a table, or plain text": "[" * 50_000},
        ]
    )
    attacker.call("start_training", {"Base model": "tests/tiny-base", "Name of the adapter": "evil", **odd})


def walk_routes(attacker: Attacker) -> None:
    answer = attacker.client.http.get(attacker.luck.choice(ROUTES))
    attacker.seen.append(answer.text)


def call_badly(attacker: Attacker) -> None:
    """Call any handler with values of any type, without the event that it waits for, or none at all."""
    odd: list = [None, 5, -1, 1e300, "x" * 10_000, "\0", [], [[]], {}, {"path": "/etc/passwd"}, True, ["mine"], "../x"]
    for _ in range(20):
        endpoint = attacker.luck.choice(list(attacker.client.endpoints.values()))
        data = [attacker.luck.choice(odd) for _ in endpoint["inputs"]]
        data = attacker.luck.choice([data, [attacker.client.key, *data[1:]], data[1:], [], None])
        number = attacker.luck.choice([endpoint["id"], endpoint["id"], 10**6, -1, "x", None])
        event = attacker.luck.choice([None, {}, {"index": "x"}, [1], {"index": [0, 0], "value": {"a": 1}}])
        body = {"data": data, "fn_index": number, "session_hash": secrets.token_hex(4), "event_data": event}
        answer = attacker.client.http.post("/gradio_api/queue/join", json=body, timeout=20)
        attacker.seen.append(answer.text)
        session = {"session_hash": body["session_hash"]}
        with suppress(httpx.TimeoutException):
            attacker.seen.append(attacker.client.http.get("/gradio_api/queue/data", params=session, timeout=2).text)


def meddle_with_events(attacker: Attacker) -> None:
    """End events and sessions that may be somebody else's."""
    for name in ("cancel", "reset"):
        body = {"session_hash": secrets.token_hex(8), "fn_index": 1, "event_id": secrets.token_hex(16)}
        attacker.client.http.post(f"/gradio_api/{name}", json=body)


def chat_values(attacker: Attacker, text: str, model: object, history: list | None = None, tokens: int = 8) -> list:
    return [text, history, model, "", tokens, 0.0, 0.95, 0, 1.0, 0, attacker.client.key]


ATTACKS: tuple[Callable[[Attacker], None], ...] = (
    bring_adapter,
    bring_adapter,
    bring_adapter,
    name_others,
    name_others,
    import_anothers_upload,
    fetch_anothers_upload,
    flood,
    make_sessions,
    read_slowly,
    send_much,
    upload_much,
    say_much,
    talk_at_once,
    train_oddly,
    walk_routes,
    call_badly,
    call_badly,
    meddle_with_events,
)
