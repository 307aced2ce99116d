"""The HTML of the Adapters tab, made from adapters and plans; all text is escaped. No events."""

import html

import pandas

from adapters.export.serve import vllm_line
from adapters.facts import facts_of
from adapters.history import History
from adapters.library import Adapter
from adapters.push import PushPlan
from ui.messages import hint_html

PIXELS_A_CHARACTER = 7  # a phone scrolls sideways inside the table
CHANGES = {"new": "new", "changed": "changes", "same": "stays as it is"}


def hints_html(texts: list[str]) -> str:
    """Return lines of text as HTML, escaped."""
    return "".join(map(hint_html, texts))


def facts_html(adapter: Adapter) -> str:
    """Return everything known of one adapter as a list of terms."""
    settings = [(one.label, str(one.value)) for one in adapter.told_settings() if one.on_card and one.name != "lora_r"]
    return _terms([*facts_of(adapter), *settings])


def _terms(pairs: list[tuple[str, str]]) -> str:
    """Return (label, value) pairs as an HTML list of terms, without those that are empty."""
    rows = "".join(
        f"<dt>{html.escape(label)}</dt><dd>{html.escape(value[:500])}</dd>" for label, value in pairs if value
    )
    return f"<dl class='facts'>{rows}</dl>"


def answers_html(history: History) -> str:
    """Return the sample answers before and after, '' when there are none."""
    before = {str(one.get("prompt")): str(one.get("answer")) for one in history.answers_before}
    parts = []
    for one in history.answers_after:
        prompt = str(one.get("prompt"))
        pairs = [("Prompt", prompt), ("Before", before.get(prompt, "")), ("After", str(one.get("answer")))]
        parts.append(_terms(pairs))
    return f"<h4>Sample answers</h4>{''.join(parts)}" if parts else ""


def curve_points(history: History) -> pandas.DataFrame | None:
    """Return the points of the loss plot, None when there are none."""
    rows = [(step, loss, "training") for step, loss in history.losses]
    rows += [(step, loss, "held out") for step, loss in history.eval_losses]
    return pandas.DataFrame(rows, columns=["step", "loss", "rows"]) if rows else None


def plan_html(plan: PushPlan) -> str:
    """Return the plan of a push, file by file, as HTML."""
    rows = ""
    for file in plan.files:
        size = f"{file.size / 1e6:.1f} MB" if file.size >= 100_000 else f"{max(1, round(file.size / 1e3))} kB"
        cells = (html.escape(file.path), CHANGES[file.change], size)
        rows += f"<tr class='{file.change}'>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    kept = f"Stays there: {', '.join(plan.kept[:10])}." if plan.kept else ""
    return f"{hint_html(plan.sentence())}<table class='plan'>{rows}</table>{hint_html(kept) if kept else ''}"


def vllm_text(adapter: Adapter) -> str:
    """Return the command that serves the adapter with vLLM, or why vLLM would refuse it."""
    place = adapter.pushed_to[-1] if adapter.pushed_to else adapter.origin.repo_id
    line = vllm_line(adapter, place or f"./{adapter.name}")
    if line.refusals:
        return f"# vLLM does not serve it: {', '.join(line.refusals)}. The merged model can be served."
    return line.command
