"""A made set as it lies on the disk, made without a teacher, for the tests of the page."""

import json

from common.files import write_json, write_text
from common.paths import LOCAL_OWNER, making_folder
from evaluation.run import Progress, Status
from making.config import MakingConfig
from making.made import MadeSet
from tests.origins import ORIGIN

FINDINGS = ([], ["ungrounded"], ["refusal"], [])  # of the rows, in turn


def put_made(
    name: str = "guide", owner: str = LOCAL_OWNER, status: Status = "done", title: str = "Guide", rows: int = 4
) -> MadeSet:
    """A made set of rows about the same passage, of which nothing is decided; the key of the first one is "row0"."""
    made = MadeSet(making_folder(owner) / name)
    made.folder.mkdir(parents=True)
    write_text(made.config_file, MakingConfig(title=title, model="tiny").to_yaml())
    origin = {**ORIGIN, "teacher": "tiny", "document": "a.md", "start": 1000, "end": 2000}
    lines = []
    for number in range(rows):
        messages = [
            {"role": "user", "content": f"Question {number} of {title}?"},
            {"role": "assistant", "content": f"Answer {number}."},
        ]
        row = {"key": f"row{number}", "messages": messages, "made": origin, "passage": f"A passage of {title}."}
        lines.append(json.dumps({**row, "findings": FINDINGS[number % len(FINDINGS)]}))
    write_text(made.rows_file, "".join(f"{line}\n" for line in lines))
    write_json(made.folder / "checked.json", {"bytes": made.rows_file.stat().st_size, "found": {}})
    made.write_progress(Progress(status, "", rows, rows))
    return made
