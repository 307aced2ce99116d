"""What the tests of hostile adapters share: to spoil one, to zip it, and to see that it is refused whole."""

import json
import zipfile

import pytest

from adapters.intake import import_adapter
from adapters.library import list_adapters
from common.errors import UserError
from common.paths import adapters_folder


def refused(source, words: str, **options) -> None:
    """The import is refused with these words and leaves nothing."""
    with pytest.raises(UserError, match=words):
        import_adapter(source, **options)
    assert list_adapters() == [] and not (adapters_folder().is_dir() and list(adapters_folder().iterdir()))


def change(folder, file: str, **values) -> None:
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def zipped(tmp_path, *members) -> object:
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path
