"""People who use the app honestly while somebody attacks it. Each has a marker, a word that nobody else may ever see."""

import io
import json
import random
import secrets
import time
import zipfile
from pathlib import Path

from runs.fields import label_of
from tests.chaos.client import Client, Refused
from ui.train.form_values import PASTE

BASE = "tests/tiny-base"


class Person:
    """Talks, trains, keeps notes. `answered` holds the seconds that the page and the chat took; `seen` all that came back."""

    def __init__(self, url: str, name: str, address: str, token: str | None, adapter: Path, max_runs: int) -> None:
        self.max_runs, self.name, self.marker = max_runs, name, f"marker-{secrets.token_hex(8)}"
        self.client, self.adapter = Client(url, address, token), adapter
        self.answered: dict[str, list[float]] = {"page": [], "chat": []}
        self.seen: list[str] = []
        self.problems: list[str] = []
        self.runs: list[str] = []
        self.upload_path = ""

    def settle_in(self) -> None:
        """Import an adapter of one's own and write the marker into its notes."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for path in self.adapter.iterdir():
                archive.writestr(path.name, path.read_bytes())
        file = self.client.upload(f"{self.name}.zip", packed.getvalue())
        self.upload_path = file["path"]
        self.client.call("import_adapter", {"A zip with an adapter": file})
        self.client.call("note_adapter", {"Adapter": self.name, "Private notes": self.marker})
        self.talk()

    def act(self, luck: random.Random) -> None:
        """Do one of the things that people do; what goes wrong is a problem of the app, busy hours included."""
        doing = luck.choice([self.talk, self.talk, self.talk, self.look, self.look, self.look_at_adapter, self.train])
        try:
            doing()
        except Refused as refusal:
            self.problems.append(f"{doing.__name__}: {refusal}")

    def look(self) -> None:
        began = time.monotonic()
        self.client.politely("GET", "/config")
        self.answered["page"].append(time.monotonic() - began)

    def talk(self) -> None:
        """Two turns with one's own adapter; the second hears of the marker again."""
        began = time.monotonic()
        history = None
        for text in (f"I am {self.name}, my word is {self.marker}.", "What is my word?"):
            values = [text, history, f"adapter:{self.name}", "", 8, 0.0, 0.95, 0, 1.0, 0, True]
            (answer,) = self.client.call("chat", values)
            self.seen.append(json.dumps(answer))
            history = answer["history"]
        self.answered["chat"].append((time.monotonic() - began) / 2)

    def look_at_adapter(self) -> None:
        shown = json.dumps(self.client.call("adapter", {"Adapter": self.name}))
        self.seen.append(shown)
        if self.marker not in shown:
            self.problems.append("the notes of the adapter are gone")

    def train(self) -> None:
        """Start a short run on rows with the marker, as long as there is room for another one."""
        if len(self.runs) >= self.max_runs:
            return self.look()
        rows = "\n".join(
            json.dumps({"prompt": f"{self.marker} {number}?", "completion": f"It is {number}."}) for number in range(12)
        )
        name = f"{self.name}-run-{len(self.runs)}"
        values = {
            "Base model": BASE,
            "Name of the adapter": name,
            "Examples to learn from": PASTE,
            "JSON lines, a table, or plain text": rows,
            label_of("max_steps"): 4,
            label_of("max_length"): 128,
        }
        try:
            shown = json.dumps(self.client.call("start_training", values))
        except Refused as refusal:
            if "may at a time here" in str(refusal) or "queue" in str(refusal) or "full for guests" in str(refusal):
                return None  # a limit that the page tells everybody
            raise
        self.seen.append(shown)
        self.runs.append(name)
        return None
