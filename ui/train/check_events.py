"""The check of the data in the Train tab: its progress, its report, the mapping of columns, and the cures."""

import json
from collections.abc import Iterator
from typing import Any, TypedDict

import gradio as gr

from common.errors import UserError
from data.check import check
from data.report import Report
from runs.config import TrainConfig
from runs.resolve import capped
from ui.background import with_progress
from ui.events import QUIET
from ui.messages import shown
from ui.owner import owner_of
from ui.train.data_form import MAPPED, cures_of, preview, report_views
from ui.train.form_values import data_key, form_config, rows_key, uploaded_names
from ui.train.report_view import escape

PREVIEW_ROWS = 10


def hint(text: str) -> gr.HTML:
    """Return a sentence in a component that is hidden while it is empty."""
    return gr.HTML(f"<p class='hint'>{escape(text)}</p>", visible=bool(text))


def changed_form(names: tuple, changes: dict[str, Any]) -> list:
    """Return updates for the form's inputs: new values from `changes`, none for the others."""
    return [gr.update(value=changes[name]) if name in changes else gr.skip() for name in names]


class Checked(TypedDict):
    """The last check as the page remembers it: its report, and the keys of the data (`key`) and the rows (`source`)."""

    key: tuple
    source: tuple
    report: Report


def report_for(config: TrainConfig, looked_at: Checked | None) -> Report | None:
    """Return the report of exactly this data with these settings, None without one."""
    return looked_at["report"] if looked_at and looked_at["key"] == data_key(config) else None


def checked(config: TrainConfig) -> Iterator[tuple[str, Any]]:
    """Yield ("says", sentence) while the check runs, then ("is", the result that the page keeps)."""
    settings = config.data_settings()
    for kind, value in with_progress(lambda progress, stop: check(settings, PREVIEW_ROWS, progress, stop)):
        yield (kind, check_result(config, value)) if kind == "is" else (kind, value)


def check_result(config: TrainConfig, report: Report) -> Checked:
    """Return the result of a check that the page keeps."""
    return {"key": data_key(config), "source": rows_key(config), "report": report}


def wire_check(tab, inputs: list, plan: dict[str, Any]) -> None:
    """Run a check after the button, uploads, mapping and cures; `plan` runs after it."""
    data = tab.data
    checking: dict[str, Any] = {
        "fn": _checker(tab),
        "inputs": [*inputs, data.preview_radio],
        "outputs": [*data.views, tab.report, data.stop_button],
        "show_progress": "hidden",
        "concurrency_id": "check",
        "concurrency_limit": 2,
    }
    quiet: dict[str, Any] = {**checking, "api_visibility": "undocumented"}
    file, naming = data.inputs["data_file"], (uploaded_names, data.inputs["data_file"], data.inputs["data_mix"])
    gr.on([file.delete, file.clear], *naming, **QUIET)
    checks = [data.check_button.click(**checking, api_name="check"), file.upload(*naming, **QUIET).then(**quiet)]
    checks.append(_wire_mapping(tab).success(**quiet))
    for number, button in enumerate(data.cure_buttons):
        checks.append(button.click(_curer(tab, number), tab.report, tab.components, **QUIET).then(**quiet))
    for event in checks:
        event.then(**once(plan))
    data.stop_button.click(
        lambda: [gr.Button(visible=False), hint("The check was stopped.")],
        None,
        [data.stop_button, data.report_html],
        cancels=checks,
        **QUIET,
    )
    data.preview_radio.change(
        lambda looked_at, shown_as: preview(looked_at and looked_at["report"], shown_as),
        [tab.report, data.preview_radio],
        data.preview_html,
        **QUIET,
    )


def _checker(tab):
    """Return the handler that checks the data and streams its progress."""
    untouched = [gr.skip()] * (len(tab.data.views) + 1)

    @shown
    def on_check(token: gr.OAuthToken | None, key, looked_at, *values):
        config = capped(form_config(tab.names, owner_of(key, token), values[:-1]))
        config.check()
        yield [hint("Looking at the data ..."), *untouched[1:], gr.Button(visible=True)]
        try:
            for kind, value in checked(config):
                if kind == "says":
                    yield [hint(str(value)), *untouched[1:], gr.skip()]
                else:
                    yield [*report_views(value["report"], values[-1]), value, gr.Button(visible=False)]
        except UserError:
            yield [hint(""), *untouched[1:], gr.Button(visible=False)]
            raise

    return on_check


def _wire_mapping(tab):
    """Wire the choice of columns; return its event."""

    @shown
    def on_map(*chosen):
        mapping = {name: column for name, column in zip(MAPPED, chosen, strict=True) if column}
        if not mapping:
            raise UserError("No column was chosen.", "Choose at least prompt and completion, messages, or text.")
        return json.dumps(mapping, ensure_ascii=False)

    dropdowns = list(tab.data.mapping_dropdowns.values())
    return tab.data.map_button.click(on_map, dropdowns, tab.inputs["columns"], **QUIET)


def _curer(tab, number: int):
    """Return the handler of the cure button `number`."""

    @shown
    def on_cure(looked_at):
        cures = cures_of(looked_at and looked_at["report"])
        return changed_form(tab.names, cures[number]["changes"] if number < len(cures) else {})

    return on_cure


def once(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the plan's arguments as a follow-up of another event."""
    return {name: value for name, value in plan.items() if name != "trigger_mode"}
