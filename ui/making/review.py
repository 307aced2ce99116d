"""The list in which a person goes through made rows, one large and the next ones below, with buttons or keys."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from common.errors import UserError
from common.files import JSON_ERRORS
from common.language import _
from making.checks import FINDINGS
from making.made import MadeSet
from making.review import Decision, ReviewRow, decide, read_review, undo
from models.messages import Message
from ui.events import QUIET, Wiring
from ui.hints import hint_html
from ui.long_lists import Choice
from ui.making.result import MadeView, own_made
from ui.making.view import KEYS_SCRIPT, WRITTEN, next_html, row_html
from ui.messages import shown
from ui.owner import owner_of

NEXT_ROWS = 6
STEPS_AT_A_TIME = 2  # of everybody
ALL, CLEAN, FOUND = "all", "clean", "found:"  # filters, beside the decisions; FOUND stands before the id of a finding
MAX_WRITTEN_CHARACTERS = 200_000  # of all messages of a row


@dataclass
class Review:
    """The components; `outputs` are those that `review_views` updates."""

    column: gr.Column
    filter_dropdown: gr.Dropdown
    row_html: gr.HTML
    row_box: gr.Textbox  # the key of the row that is shown
    keys_row: gr.Row
    accept: gr.Button
    edit: gr.Button
    reject: gr.Button
    undo: gr.Button
    later: gr.Button
    earlier: gr.Button
    writing_row: gr.Row
    save: gr.Button
    cancel: gr.Button
    next_html: gr.HTML
    accept_rest: gr.Button
    reject_rest: gr.Button
    counts_html: gr.HTML

    @property
    def outputs(self) -> list:
        """Return what `review_views` updates, in its order."""
        rows = [self.row_html, self.row_box, self.keys_row, self.writing_row, self.next_html]
        return [self.column, self.filter_dropdown, *rows, self.accept_rest, self.reject_rest, self.counts_html]


def build_review() -> Review:
    """Lay out the list, hidden while there are no rows."""
    row_box = gr.Textbox("", visible="hidden")  # outside: what is in a column is shown with it
    with gr.Column(visible=False, elem_classes="review") as column:
        filter_dropdown = gr.Dropdown(
            [], value=None, label=_("Rows to look at"), interactive=True, allow_custom_value=True
        )
        row = gr.HTML("", js_on_load=KEYS_SCRIPT)
        with gr.Row(elem_classes="review-keys") as keys_row:
            labels = {"a": _("Accept (a)"), "e": _("Edit (e)"), "r": _("Reject (r)"), "u": _("Undo (u)")}
            labels |= {"j": _("Next (j)"), "k": _("Back (k)")}
            keys = [
                gr.Button(str(label), size="sm", min_width=88, elem_classes=f"key-{key}")
                for key, label in labels.items()
            ]
        with gr.Row(visible=False, elem_classes="review-keys") as writing_row:
            save = gr.Button(_("Save and accept (Ctrl+Enter)"), variant="primary", elem_classes="key-save")
            cancel = gr.Button(_("Cancel (Esc)"), elem_classes="key-cancel")
        next_ones = gr.HTML("")
        with gr.Row():
            accept_rest = gr.Button(_("Accept the rest"), size="sm", min_width=140)
            reject_rest = gr.Button(_("Reject the rest"), size="sm", min_width=140)
        counts = gr.HTML("")
    rest = (writing_row, save, cancel, next_ones, accept_rest, reject_rest, counts)
    return Review(column, filter_dropdown, row, row_box, keys_row, *keys, *rest)


def wire_review(review: Review, view: MadeView, browser_key: gr.BrowserState) -> None:
    """Wire what fills the list when there are rows, what shows another row or fields to write in, and the decisions."""
    inputs = [browser_key, view.chosen.dropdown, review.filter_dropdown, review.row_box]
    written = gr.Textbox("", visible="hidden")
    # each step reads all rows of a set, which may be hundreds of megabytes
    one_by_one: Wiring = {
        "outputs": review.outputs,
        "concurrency_id": "review",
        "concurrency_limit": STEPS_AT_A_TIME,
        **QUIET,
    }
    _wire_decisions(review, inputs, written, one_by_one)

    @shown
    def on_rows(token: gr.OAuthToken | None, key, made_id, wanted, row, texts):
        owner = owner_of(key, token)
        if texts not in ("", "[]"):  # a person writes
            return [gr.skip()] * len(review.outputs)
        return review_views(own_made(made_id, owner) if made_id else None, wanted, row)

    def moved(step: int = 0, writing: bool = False):
        @shown
        def on_move(token: gr.OAuthToken | None, key, made_id, wanted, row):
            return review_views(own_made(made_id, owner_of(key, token)), wanted, row, step, writing)

        return on_move

    @shown
    def on_row(token: gr.OAuthToken | None, key, made_id, wanted, event: gr.EventData):
        made = own_made(made_id, owner_of(key, token))
        return review_views(made, wanted, getattr(event, "row", ""))

    for button, handler, name in (
        (review.edit, moved(writing=True), "edit_row"),
        (review.cancel, moved(), "show_row"),
        (review.later, moved(1), "next_row"),
        (review.earlier, moved(-1), "earlier_row"),
    ):
        button.click(handler, inputs, api_name=name, **one_by_one)
    review.filter_dropdown.input(moved(), inputs, api_name="filter_rows", trigger_mode="always_last", **one_by_one)
    review.row_html.click(on_row, inputs[:-1], api_name="pick_row", **one_by_one)
    view.rows_of.change(on_rows, [*inputs, written], js=WRITTEN, api_name="review_rows", **one_by_one)


def _wire_decisions(review: Review, inputs: list, written: gr.Textbox, one_by_one: Wiring) -> None:
    """Wire accept, reject, undo and save, of one row or of the rest."""

    def decided(decision: Decision):
        @shown
        def on_decide(token: gr.OAuthToken | None, key, made_id, wanted, row):
            made = own_made(made_id, owner_of(key, token))
            decide(made, [str(row)] if row else [], decision)
            return review_views(made, wanted, row, 1)

        return on_decide

    def decided_rest(decision: Decision):
        @shown
        def on_rest(token: gr.OAuthToken | None, key, made_id, wanted, row):
            made = own_made(made_id, owner_of(key, token))
            decide(made, rest_of(read_review(made), wanted), decision)
            return review_views(made, wanted, row)

        return on_rest

    @shown
    def on_undo(token: gr.OAuthToken | None, key, made_id, wanted, row):
        made = own_made(made_id, owner_of(key, token))
        undone = undo(made)
        return review_views(made, wanted, undone[0] if undone else row)

    @shown
    def on_save(token: gr.OAuthToken | None, key, made_id, wanted, row, written):
        made = own_made(made_id, owner_of(key, token))
        decide(made, [str(row)], "accepted", written_messages(read_review(made), row, written))
        return review_views(made, wanted, row, 1)

    for button, handler, name in (
        (review.accept, decided("accepted"), "accept_row"),
        (review.reject, decided("rejected"), "reject_row"),
        (review.undo, on_undo, "undo_decision"),
        (review.accept_rest, decided_rest("accepted"), "accept_rest"),
        (review.reject_rest, decided_rest("rejected"), "reject_rest"),
    ):
        button.click(handler, inputs, api_name=name, **one_by_one)
    review.save.click(on_save, [*inputs, written], js=WRITTEN, api_name="save_row", **one_by_one)


def fits(row: ReviewRow, wanted: object) -> bool:
    """Return whether a row is one of those that a filter shows."""
    if wanted == CLEAN:
        return row.decision == "pending" and not row.findings
    if isinstance(wanted, str) and wanted.startswith(FOUND):
        return wanted.removeprefix(FOUND) in row.findings
    return wanted in (ALL, row.decision)


def rest_of(rows: Sequence[ReviewRow], wanted: object) -> list[str]:
    """Return the keys of the rows that a filter shows and nobody has decided on."""
    return [row.key for row in rows if row.decision == "pending" and fits(row, wanted)]


def filter_choices(rows: Sequence[ReviewRow]) -> list[Choice]:
    """Return the filters that show any rows, and the one for what is left, with their numbers."""
    titles: dict[str, str] = {"pending": _("Not looked at"), CLEAN: _("Not looked at, nothing found"), ALL: _("All")}
    titles |= {"accepted": _("Accepted"), "rejected": _("Rejected")}
    titles |= {f"{FOUND}{name}": str(words).rstrip(".") for name, words in FINDINGS.items()}
    counts = {name: sum(fits(row, name) for row in rows) for name in titles}
    return [(f"{titles[name]} ({count:,})", name) for name, count in counts.items() if count or name == "pending"]


def review_views(made: MadeSet | None, wanted: object, key: object, step: int = 0, writing: bool = False) -> list:
    """Return updates for `Review.outputs`: the row with this key, or the next (1) or the earlier one (-1) that the filter shows.

    On a side where there is none it is the outermost that there is.
    """
    rows = read_review(made) if made else []
    if not rows:
        return [gr.Column(visible=False), *[gr.skip()] * 9]
    wanted = wanted if isinstance(wanted, str) and any(fits(row, wanted) for row in rows) else "pending"
    at = next((place for place, row in enumerate(rows) if row.key == key), -max(step, 0))
    places = [place for place, row in enumerate(rows) if fits(row, wanted)]
    if step < 0:
        found = [place for place in places if place < at][-1:] or places[:1]
    else:
        found = [place for place in places if place >= at + step][:1] or places[-1:]
    choices = filter_choices(rows)
    if found:
        row = rows[found[0]]
        row_views = [row_html(row, found[0] + 1, len(rows), writing), row.key]
        following = [rows[place] for place in places if place > found[0]][:NEXT_ROWS]
    else:
        words = _("Nothing is left to look at. Use the accepted rows, or choose others above.")
        row_views, following = [hint_html(words), ""], []
    rest = len(rest_of(rows, wanted))
    return [
        gr.Column(visible=True),
        gr.Dropdown(choices, value=wanted),
        *row_views,
        gr.Row(visible=not writing),
        gr.Row(visible=writing),
        next_html(following),
        gr.Button(_("Accept the rest ({count:,})", count=rest), interactive=bool(rest)),
        gr.Button(_("Reject the rest ({count:,})", count=rest), interactive=bool(rest)),
        counts_html(rows),
    ]


def counts_html(rows: Sequence[ReviewRow]) -> str:
    """Return how many rows are accepted, rejected, and not looked at, as HTML."""
    counts = {name: sum(row.decision == name for row in rows) for name in ("accepted", "rejected", "pending")}
    return hint_html(_("{accepted:,} accepted, {rejected:,} rejected, {pending:,} not looked at.", **counts))


def written_messages(rows: Sequence[ReviewRow], key: object, written: object) -> list[Message]:
    """Return the messages of a row with what was written in their fields. Raises UserError unless it is a text for each."""
    row = next((one for one in rows if one.key == key), None)
    text = written if isinstance(written, str) and len(written) <= MAX_WRITTEN_CHARACTERS else ""
    try:
        texts = json.loads(text)
    except JSON_ERRORS:
        texts = None
    messages = row.messages if row else []
    is_whole = isinstance(texts, list) and len(texts) == len(messages) and all(isinstance(one, str) for one in texts)
    if not messages or not is_whole:
        raise UserError(
            _("This row cannot be changed like this."), _("Show it again, and shorten it where it is too long.")
        )
    return [Message(role=one["role"], content=text) for one, text in zip(messages, texts, strict=True)]
