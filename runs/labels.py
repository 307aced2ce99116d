"""What its owner wrote on a run: a title, notes, tags, a star. It lies in the run's `about.json`; id and folder never change.

An experiment writes on its runs, too, to whom they belong.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from common.errors import UserError
from common.files import read_object, write_json
from common.language import _
from runs.run import Run

MAX_TITLE, MAX_NOTES, MAX_TAG, MAX_PLACE = 120, 4000, 40, 200  # characters
EXPERIMENT = "experiment"  # the tag of the runs of experiments
MAX_TAGS = 20
MAX_ABOUT_BYTES = 64_000  # the longest labels take 25,000


@dataclass(frozen=True)
class Labels:
    """The labels of one run. `tags` hold no comma and differ in more than upper and lower case.

    `experiment` is what it is a part of, 'ID/CELL'; "" for a run that a person has started.
    """

    title: str = ""
    notes: str = ""
    tags: tuple[str, ...] = ()
    starred: bool = False
    experiment: str = ""

    def words(self) -> str:
        """Return star and tags for a list: "★ #poems #korean"; "" without any."""
        return " ".join(["★"] * self.starred + [f"#{tag}" for tag in self.tags])


def labels_of(run: Run) -> Labels:
    """Return the labels of `run`, without those that are damaged or cannot be shown."""
    about = read_object(run.about_file, MAX_ABOUT_BYTES)
    texts = {
        name: text[:most]
        for name, most in (("title", MAX_TITLE), ("notes", MAX_NOTES), ("experiment", MAX_PLACE))
        if isinstance(text := about.get(name), str) and _is_printable(text)
    }
    found = about.get("tags")
    tags = [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []
    shown = [tag for tag in split_tags(",".join(tags)) if _is_printable(tag) and len(tag) <= MAX_TAG]
    return Labels(**texts, tags=tuple(shown[:MAX_TAGS]), starred=about.get("starred") is True)


def title_of(run: Run) -> str:
    """Return the title that its owner gave, else its id."""
    return labels_of(run).title or run.id


def split_tags(text: str) -> list[str]:
    """Return the tags in "poems, #Korean, korean": each once, without the spaces and the # around it."""
    tags = (" ".join(tag.split()).lstrip("# ") for tag in text.split(","))
    return list({tag.casefold(): tag for tag in reversed(list(tags)) if tag}.values())[::-1]


def set_labels(
    run: Run,
    title: str | None = None,
    notes: str | None = None,
    tags: Iterable[str] | None = None,
    starred: bool | None = None,
    experiment: str | None = None,
) -> Labels:
    """Change the given labels of `run` and return all. An empty title goes back to the id.

    Raises UserError for labels that are too long, too many, or cannot be shown.
    """
    given = {
        "title": None if title is None else " ".join(title.split()),
        "notes": None if notes is None else notes.strip(),
        "tags": None if tags is None else tuple(split_tags(",".join(tags))),
        "starred": starred,
        "experiment": experiment,
    }
    labels = replace(labels_of(run), **{name: value for name, value in given.items() if value is not None})
    if len(labels.title) > MAX_TITLE or len(labels.notes) > MAX_NOTES:
        words = _("A title has at most {title:,} characters, notes {notes:,}.", title=MAX_TITLE, notes=MAX_NOTES)
        raise UserError(words, _("Shorten the text."))
    if len(labels.tags) > MAX_TAGS or any(len(tag) > MAX_TAG for tag in labels.tags):
        words = _("A run has at most {count} tags of at most {limit} characters.", count=MAX_TAGS, limit=MAX_TAG)
        raise UserError(words, _("Use fewer or shorter tags."))
    if not _is_printable("".join((labels.title, labels.notes, *labels.tags))):
        raise UserError(_("Titles, notes and tags must be plain text."), _("Remove the control characters."))
    write_json(run.about_file, asdict(labels))
    return labels


def _is_printable(text: str) -> bool:
    return text.replace("\n", "").replace("\t", "").isprintable()
