"""Settings for rows that a test gives."""

import json

import pytest

from data.settings import DataSettings


@pytest.fixture
def data_settings(tmp_path):
    """Settings for these rows, which are written to a file; nothing is held out unless asked."""

    def make(rows: list[dict], **values) -> DataSettings:
        file = tmp_path / "rows.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))
        return DataSettings(data=str(file), **{"eval_fraction": 0.0, "max_length": 64, **values})

    return make
