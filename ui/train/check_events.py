"""The check of the data in the Train tab: its progress, its report, the mapping of columns, and the cures.

A change of the source empties the report at once. When the form has been still for a moment, the page itself presses the button
of the check. The inputs in folded sections are not in the page, and tell no change that did not come by hand: who changes them
calls for the check (`ui.train.browser_copy.wire_memory`).
"""

import json
from collections.abc import Iterator
from typing import Any, TypedDict

import gradio as gr

from common.errors import UserError
from common.language import _, joined
from data.check import check
from data.report import Report
from runs.config import EXAMPLE, READING, ROWS, SOURCE, TrainConfig, marked
from runs.resolve import capped
from ui.background import with_progress
from ui.events import QUIET
from ui.hints import hint_html
from ui.messages import shown
from ui.named import FieldError
from ui.owner import owner_of
from ui.train.data_form import (
    CHECK_BUTTON,
    MAPPED,
    DataForm,
    example_found,
    preview,
    report_views,
)
from ui.train.form_values import (
    FORM_ONLY,
    FormValues,
    check_given,
    data_key,
    make_config,
    rows_key,
    uploaded_names,
)
from ui.train.report_view import cures_of, escape

PREVIEW_ROWS = 10
HEARTBEAT_SECONDS = 0.2  # how soon a check that nobody waits for any more ends
PRESS_CHECK = f"document.querySelector('#{CHECK_BUTTON}').click()"
CHECK_SOON = f"() => {{ clearTimeout(window.checkSoon); window.checkSoon = setTimeout(() => {PRESS_CHECK}, 600) }}"
CHECK_FOR_PREVIEW = f"() => {{ document.querySelector('.preview .sample') || {PRESS_CHECK} }}"


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


def is_untouched_example(config: TrainConfig) -> bool:
    """Return whether the data is the unchanged example, which needs no check."""
    touched = (config.text_data, config.eval_data, config.eval_split, config.columns)
    return config.data == EXAMPLE and not any(touched)


def checked(config: TrainConfig, heartbeat: float | None = None) -> Iterator[tuple[str, Any]]:
    """Yield ("says", sentence) while the check runs, then ("is", the result that the page keeps).

    With a `heartbeat` in seconds the last sentence comes again while nothing new does, so that the check can be ended.
    """
    settings = config.data_settings()
    for kind, value in with_progress(lambda progress, stop: check(settings, PREVIEW_ROWS, progress, stop), heartbeat):
        yield (kind, check_result(config, value)) if kind == "is" else (kind, value)


def check_result(config: TrainConfig, report: Report) -> Checked:
    """Return the result of a check that the page keeps."""
    return {"key": data_key(config), "source": rows_key(config), "report": report}


def wire_check(tab, inputs: list, plan: dict[str, Any]) -> None:
    """Empty the report after every change, check by itself, and wire mapping, cures and preview; `plan` follows a check."""
    data: DataForm = tab.data
    emptied = [*data.views, tab.report, data.stop_button]

    def on_source(newest):
        newest.start()
        return [None, gr.Button(visible=False)]

    source = [tab.inputs[name].change for name in FORM_ONLY]
    # in the browser, at once; then what the server remembers
    gr.on(source, None, None, data.views, js=f"() => ({json.dumps([*report_views(None)[:-1], ''])})", **QUIET)
    gr.on(source, on_source, data.newest, emptied[-2:], queue=False, trigger_mode="multiple", **QUIET)
    settings = [tab.inputs[name].change for name in marked(SOURCE, READING) if name in tab.inputs]
    gr.on([*source, *settings], None, js=CHECK_SOON, **QUIET)
    checking = data.check_button.click(
        check_handler(tab),
        [*inputs, data.newest, data.is_previewed, data.preview_radio],
        emptied,
        api_name="check_data",
        show_progress="hidden",
        trigger_mode="multiple",
        concurrency_id="check",
        concurrency_limit=2,
    )
    checking.then(**once(plan))

    def on_stop(newest):
        newest.start()
        return [gr.Button(visible=False), hint_html(_("The check was stopped."))]

    data.stop_button.click(on_stop, data.newest, [data.stop_button, data.found_html], queue=False, **QUIET)
    _wire_source(tab)
    _wire_mapping(tab)
    _wire_cures(tab)
    data.preview_group.expand(lambda: True, None, data.is_previewed, **QUIET)
    data.preview_group.expand(None, js=CHECK_FOR_PREVIEW, **QUIET)
    data.preview_group.collapse(lambda: False, None, data.is_previewed, **QUIET)
    data.preview_radio.change(
        lambda looked_at, shown_as: preview(looked_at and looked_at["report"], shown_as),
        [tab.report, data.preview_radio],
        data.preview_html,
        **QUIET,
    )


def _wire_source(tab) -> None:
    """Name the files of an upload, and forget the columns of another source."""
    source = {name: tab.inputs[name] for name in ("data_kind", "data_paste", "data_hub", "data_chat", "data_mix")}
    file = tab.inputs["data_file"]
    files = [file.upload, file.delete, file.clear]
    gr.on(files, uploaded_names, file, source["data_mix"], **QUIET)
    by_hand = [*files, *(component.input for component in source.values())]
    gr.on(by_hand, None, None, tab.inputs["columns"], js="() => ''", **QUIET)


def check_handler(tab):
    """Return the handler that checks the data and streams its progress."""
    rows = {*FORM_ONLY, *marked(ROWS, SOURCE, READING)}

    def config_to_check(owner: str, form: FormValues) -> TrainConfig:
        config = capped(make_config(owner, form))
        problem = next((problem for problem in config.problems() if problem.field in rows), None)
        if problem:
            raise FieldError(problem.field, problem.message)
        return config

    @shown
    def on_check(token: gr.OAuthToken | None, key, looked_at, *values):
        *values, newest, is_previewed, shown_as = values
        untouched = [gr.skip()] * len(tab.data.views)
        no_stop, form = gr.Button(visible=False), dict(zip(tab.names, values, strict=True))
        is_over = newest.start()
        try:
            check_given(form)
        except UserError as error:
            yield [*report_views(None, found=hint_html(joined([error.message, error.hint]))), None, no_stop]
            return
        try:
            config = config_to_check(owner_of(key, token), form)
            if is_untouched_example(config) and not is_previewed:
                yield [*report_views(None, found=example_found()), None, no_stop]
                return
            yield [hint_html(_("Checking the data ...")), *untouched, gr.Button(visible=True)]
            told = ""
            for kind, value in checked(config, HEARTBEAT_SECONDS):
                if is_over():
                    yield [gr.skip(), *untouched, gr.skip()]
                    return
                if kind == "is":
                    yield [*report_views(value["report"], shown_as), value, no_stop]
                elif value != told:
                    told = value
                    yield [hint_html(told), *untouched, gr.skip()]
        except UserError as error:
            yield [*report_views(None, found=hint_html(joined([error.message, error.hint]), "problem")), None, no_stop]

    return on_check


def _wire_mapping(tab) -> None:
    """Wire the choice of columns."""

    @shown
    def on_map(*chosen):
        mapping = {name: column for name, column in zip(MAPPED, chosen, strict=True) if column}
        if not mapping:
            raise UserError(_("No column was chosen."), _("Choose prompt and completion, messages, or text."))
        return json.dumps(mapping, ensure_ascii=False)

    dropdowns = list(tab.data.mapping_dropdowns.values())
    tab.data.map_button.click(on_map, dropdowns, tab.inputs["columns"], **QUIET)


def _wire_cures(tab) -> None:
    """Let a click on a cure in the report change the form."""

    @shown
    def on_cure(looked_at, event: gr.EventData):
        cures = dict(enumerate(cures_of(looked_at and looked_at["report"])))
        try:
            changes = cures[event.number]["changes"]
        except (AttributeError, KeyError, TypeError):  # a browser may send anything; a new check may have other cures
            changes = {}
        return changed_form(tab.names, changes)

    tab.data.report_html.click(on_cure, tab.report, tab.components, **QUIET)


def once(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the plan's arguments as a follow-up of another event."""
    return {name: value for name, value in plan.items() if name != "trigger_mode"}
