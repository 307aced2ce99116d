"""The HTML of the Adapters tab, made from adapters and plans; all text is escaped. No events."""

import html
import time
from collections.abc import Sequence

from adapters.evaluated import HEADS, STATED, is_stated, read_evaluated, score_words
from adapters.export.serve import vllm_line
from adapters.facts import describe_origin, facts_of
from adapters.history import History, Points, read_history
from adapters.library import Adapter
from common.language import _, joined
from runs.state import thinned
from ui.answers import pair_html
from ui.hints import hint_html
from ui.plot import Curve, plot_html

# A card is a button; a click names its adapter. The one that is picked is marked at once, the page fills in its details.
CARDS_SCRIPT = """
element.addEventListener('click', event => {
    const card = event.target.closest('[data-adapter]');
    if (!card) return;
    element.querySelectorAll('[data-adapter]').forEach(one => one.setAttribute('aria-pressed', one === card));
    trigger('click', {name: card.dataset.adapter});
});
"""
MAX_SPARK_POINTS = 60


def hints_html(texts: list[str]) -> str:
    """Return lines of text as HTML, escaped."""
    return "".join(map(hint_html, texts))


def cards_html(adapters: Sequence[Adapter], picked: str | None, hint: str, score: str = "") -> str:
    """Return the library as a list of buttons, each with its curve and one score; `hint` stands under it."""
    cards = "".join(f"<li>{_card(adapter, adapter.name == picked, score)}</li>" for adapter in adapters)
    label = html.escape(str(_("Adapters, newest first")))
    return f"<ul class='cards' aria-label='{label}'>{cards}</ul>{hint_html(hint) if hint else ''}"


def _card(adapter: Adapter, is_picked: bool, score: str) -> str:
    """Return one adapter of the list as a button: title, base and date, loss before and after, a score, the held-out curve."""
    history = read_history(adapter)
    day = time.strftime("%Y-%m-%d", time.localtime(min(max(adapter.created, 0), 4e9)))
    line = f"{adapter.base.rsplit('/', 1)[-1]} · {day}"
    before, after = adapter.loss_before, adapter.loss_after
    loss = _("Held-out loss {after:.2f}", after=after) if after is not None else ""
    if before is not None and after is not None:
        loss = _("Held-out loss {before:.2f} → {after:.2f}", before=before, after=after)
    return (
        f"<button type='button' data-adapter='{html.escape(adapter.name, quote=True)}' aria-pressed='{str(is_picked).lower()}'>"
        f"<span><b>{html.escape(adapter.title)}</b><small>{html.escape(line)}</small>"
        f"<small>{html.escape(str(loss))}</small><small>{html.escape(score_words(adapter, score))}</small></span>"
        f"{_spark(history.eval_losses if len(history.eval_losses) > 1 else history.losses)}</button>"
    )


def _spark(points: Points) -> str:
    """Return a curve as a small drawing without words, "" of fewer than two points."""
    points = thinned(points, MAX_SPARK_POINTS)
    if len(points) < 2:
        return ""
    steps, losses = [step for step, _loss in points], [loss for _step, loss in points]
    width, height = (steps[-1] - steps[0]) or 1, (max(losses) - min(losses)) or 1
    places = (
        f"{100 * (step - steps[0]) / width:.1f} {30 * (max(losses) - loss) / height:.1f}" for step, loss in points
    )
    path = f"<path d='M{'L'.join(places)}'/>"
    return f"<svg class='spark' viewBox='0 0 100 30' preserveAspectRatio='none' aria-hidden='true'>{path}</svg>"


def heading_html(adapter: Adapter) -> str:
    """Return the title of an adapter, its base, what it was trained on, and how it came here."""
    trained_on = _("trained on {data}", data=adapter.data()) if adapter.data_sets() else ""  # a mix was not trained
    facts = [adapter.base, trained_on, describe_origin(adapter)]
    line = " · ".join(html.escape(str(fact)) for fact in facts if fact)
    return f"<h2 class='adapter-title'>{html.escape(adapter.title)}</h2><p class='hint'>{line}</p>"


def facts_html(adapter: Adapter) -> str:
    """Return everything known of one adapter as a list of terms."""
    settings = [(one.label, str(one.value)) for one in adapter.told_settings() if one.on_card and one.name != "lora_r"]
    return _terms([*facts_of(adapter), *settings])


def scores_html(adapter: Adapter) -> str:
    """Return what evaluations measured of an adapter, a table for each test set; "" where none did."""
    measured, tables = read_evaluated(adapter.folder), ""
    for one in measured:
        label = html.escape(joined([one.words(), one.day], " · "))
        head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in HEADS)
        rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in score.row()) for score in one.scores]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        tables += (
            f"<h3>{label}</h3><div class='scrolls' role='region' tabindex='0' aria-label='{label}'>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )
    note = hint_html(STATED) if measured and is_stated(adapter) else ""
    return f"<section class='results'>{tables}{note}</section>" if measured else ""


def _terms(pairs: list[tuple[str, str]]) -> str:
    """Return (label, value) pairs as an HTML list of terms, without those that are empty."""
    rows = "".join(
        f"<dt>{html.escape(label)}</dt><dd>{html.escape(str(value)[:500])}</dd>" for label, value in pairs if value
    )
    return f"<dl class='facts'>{rows}</dl>"


def answers_html(history: History) -> str:
    """Return the sample answers before and after side by side, "" when there are none."""
    before = {str(one.get("prompt")): str(one.get("answer")) for one in history.answers_before}
    pairs = [(str(one.get("prompt")), str(one.get("answer"))) for one in history.answers_after]
    if not pairs:
        return ""
    parts = [pair_html(prompt, before.get(prompt, ""), answer, _("This adapter")) for prompt, answer in pairs]
    return f"<section class='learned whole'><h3>{html.escape(_('What it learned'))}</h3>{''.join(parts)}</section>"


def curve_html(history: History) -> str:
    """Return the loss plot, "" when there are no points."""
    if not history.losses and not history.eval_losses:
        return ""
    curves = [
        Curve(history.losses, str(_("training")), "training"),
        Curve(history.eval_losses, str(_("held-out")), "held-out", dots=True),
    ]
    return plot_html(str(_("Loss over the steps (lower is better)")), curves, kept_step=history.kept_step)


def vllm_text(adapter: Adapter) -> str:
    """Return the command that serves the adapter with vLLM, or why vLLM would refuse it."""
    place = adapter.pushed_to[-1] if adapter.pushed_to else adapter.origin.repo_id
    line = vllm_line(adapter, place or f"./{adapter.name}")
    if line.refusals:
        reasons = ", ".join(map(str, line.refusals))
        return f"# {_('vLLM cannot serve it: {reasons}. The merged model can be served.', reasons=reasons)}"
    return line.command
