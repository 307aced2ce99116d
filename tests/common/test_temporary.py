"""The folder of uploads and downloads: nobody else's, and never full of yesterday's files."""

import os
import time

import pytest

from common.errors import UserError
from common.paths import MAX_DOWNLOAD_FOLDERS, home, new_download_folder, remove_old_files, temporary_folder


def test_it_is_in_the_home_and_for_this_user_alone():
    assert temporary_folder() == home() / "temporary"
    assert temporary_folder().stat().st_mode & 0o777 == 0o700
    temporary_folder().chmod(0o777)
    assert temporary_folder().stat().st_mode & 0o777 == 0o700
    assert new_download_folder("local").stat().st_mode & 0o777 == 0o700


def test_a_link_or_a_file_in_its_place_is_refused(tmp_path):
    (home() / "temporary").symlink_to(tmp_path)
    with pytest.raises(UserError, match="is a link"):
        temporary_folder()
    assert list(tmp_path.iterdir()) == []


def test_another_users_folder_is_refused(monkeypatch):
    temporary_folder()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UserError, match="another user"):
        temporary_folder()


def test_no_download_has_a_name_that_can_be_guessed():
    first, second = new_download_folder("local"), new_download_folder("local")
    assert first != second and first.parent == temporary_folder()
    with pytest.raises(UserError):
        new_download_folder("../x")


def test_an_owner_has_the_newest_few_downloads_and_the_others_keep_theirs():
    hers = new_download_folder("user-alice")
    his = [new_download_folder("user-bob") for _ in range(MAX_DOWNLOAD_FOLDERS + 3)]
    assert hers.is_dir() and his[-1].is_dir()
    assert sum(folder.is_dir() for folder in his) == MAX_DOWNLOAD_FOLDERS


def test_what_is_old_goes():
    old, new = temporary_folder() / "old", temporary_folder() / "new"
    old.mkdir()
    (old / "a.zip").write_text("x")
    new.write_text("x")
    os.utime(old, (time.time() - 100_000,) * 2)
    remove_old_files()
    assert not old.exists() and new.exists()
