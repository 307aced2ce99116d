"""The page is small on its way, and what never changes is sent once."""

import re

import pytest

from tests.ui.calling import guard_of
from ui.theme import MARK

MAX_PAGE_BYTES = 80_000


@pytest.fixture
def asset(laptop) -> str:
    """The address of a script of the page whose name holds its hash."""
    return f"/assets/{laptop.get('/').text.partition('./assets/')[2].partition(chr(34))[0]}"


@pytest.mark.parametrize(("language", "about"), [("en", "Fine-tune a small"), ("ko", "미세조정")])
def test_a_link_to_the_page_is_shown_by_its_own_name_and_words(laptop, language, about):
    page = laptop.get(f"/?lang={language}").text
    tags = dict(re.findall(r'<meta (?:property|name)="([\w:]+)" content="([^"]*)"', page))
    assert tags["og:title"] == "TinyLlama Studio" and about in tags["og:description"]
    assert tags["description"] == tags["og:description"]
    assert {name for name in tags if ":" in name} == {"og:type", "og:title", "og:description", "twitter:card"}
    assert re.findall(r"<meta[^>]*(?:[Gg]radio|https?:)[^>]*>", page) == []


def test_the_manifest_names_the_mark(laptop, page, monkeypatch):
    monkeypatch.setattr(page, "favicon_path", MARK)
    (icon,) = laptop.get("/manifest.json").json()["icons"]
    answer = laptop.get(icon["src"])
    assert (answer.status_code, answer.content) == (200, MARK.read_bytes())
    assert answer.headers["content-type"].startswith("image/svg+xml")


def test_the_page_and_its_description_are_sent_compressed(laptop):
    for path in ("/", "/config", "/gradio_api/info"):
        small = laptop.get(path, headers={"accept-encoding": "gzip, br"})
        whole = laptop.get(path, headers={"accept-encoding": "identity"})
        assert (small.headers["content-encoding"], small.status_code) == ("br", 200)
        assert "content-encoding" not in whole.headers and small.content == whole.content
        assert int(small.headers["content-length"]) < min(MAX_PAGE_BYTES, len(whole.content) / 4)


def test_a_file_with_its_hash_in_its_name_is_kept_by_the_browser_and_compressed_once(laptop, asset, monkeypatch):
    first = laptop.get(asset, headers={"accept-encoding": "br"})
    assert first.status_code == 200 and "immutable" in first.headers["cache-control"]
    monkeypatch.setattr(guard_of(laptop).app, "app", None)  # whatever comes now comes without Gradio
    again = laptop.get(asset, headers={"accept-encoding": "br"})
    assert (again.content, again.headers) == (first.content, first.headers)


def test_what_is_not_there_or_only_a_part_is_not_kept(laptop, asset):
    for path, headers in (("/assets/none-00000000.js", {}), (asset, {"range": "bytes=0-9"})):
        answer = laptop.get(path, headers={"accept-encoding": "br", **headers})
        assert answer.status_code in (206, 404) and "content-encoding" not in answer.headers
        assert "cache-control" not in answer.headers and guard_of(laptop).app._kept == {}


def test_a_file_is_kept_once_however_many_ways_lead_to_it(laptop, asset):
    for path in (
        f"{asset}%2f",
        asset.replace("/assets/", "/assets/%2e/"),
        asset.replace("/assets/", "/assets/x%2f../"),
    ):
        assert laptop.get(path, headers={"accept-encoding": "br"}).status_code == 200
    assert guard_of(laptop).app._kept == {}
