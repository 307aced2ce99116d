"""What a run learned, as HTML: its answers beside the base's while it trains, its result when it is done."""

import html
import math

from adapters.forgotten import MUCH, forgotten_in
from adapters.result_picture import Result, best_sample, loss_words
from adapters.values import number
from common.language import Sentence, _, n_
from runs.events import Metrics
from runs.labels import title_of
from runs.run import Run
from runs.state import RunState
from ui.answers import lines_html, pair_html
from ui.hints import hint_html


def learned_html(run: Run, state: RunState) -> str:
    """Return the newest answers beside the base's; of a finished run its result and the best answer before and after."""
    # in an element of its own: else the page would move the answers down, and not draw the result anew
    inner = f"<section>{_finished(run, state)}</section>" if state.has_result else _so_far(state)
    label = html.escape(_("What it learned"))
    return f"<div class='learned' role='region' aria-label='{label}' tabindex='0'>{inner}</div>"


def result_of(run: Run, state: RunState) -> Result:
    """Return what the run came to: for its page and its picture."""
    samples, metrics = state.curve("samples"), state.metrics
    after = dict(samples).get(state.kept_place, samples[-1][1]) if samples else []
    rows = number(metrics.get("rows"))
    return Result(
        name=title_of(run),
        base=str(metrics.get("base") or state.base).rsplit("/", 1)[-1],
        rows=None if rows is None else round(rows),
        seconds=number(metrics.get("total_seconds", metrics.get("train_seconds"))),
        loss_before=number(metrics.get("loss_before")),
        loss_after=number(metrics.get("loss_after")),
        losses=state.curve("losses"),
        eval_losses=state.curve("eval_losses"),
        kept_step=state.kept_place,
        sample=best_sample(samples[0][1], after) if samples and samples[0][0] == 0 else None,
    )


def _finished(run: Run, state: RunState) -> str:
    """Return headline, facts, and the answer that shows the difference best."""
    result = result_of(run, state)
    before, after = result.loss_before, result.loss_after
    headline = loss_words(before, after) or n_(
        "Trained on {count:,} example", "Trained on {count:,} examples", result.rows or 0
    )
    parts = [f"<p class='headline'>{html.escape(headline)}</p>"]
    if before is None or after is None:
        nothing = _("No example was held out, so nothing shows how well it does on new ones.")
        too_early = _(
            "It ended before the held-out examples were read, so nothing shows yet how well it does on new ones."
        )
        parts.append(hint_html(too_early if state.metrics.get("held_out_rows") else nothing))
    elif after > before:
        advice = _(
            "It does worse on examples that it was not trained on. Try fewer epochs, a lower learning rate or more examples."
        )
        parts.append(hint_html(advice, "problem"))
    told = forgotten_in(state.metrics)
    parts += [hint_html(one.words(), "problem" if one.nats > MUCH else "hint") for one in told]
    if any(one.nats > MUCH for one in told):
        parts.append(hint_html(_("Fewer epochs or a lower learning rate forget less.")))
    facts = [fact for fact in (result.facts(), size_words(state.metrics)) if fact]
    parts.append(hint_html(" · ".join(map(str, facts))))
    if sample := result.sample:
        after_words = _("With your adapter") if state.adapter else _("After the training")
        parts.append(pair_html(sample.prompt, sample.before, sample.after, after_words))
    return "".join(parts)


def size_words(metrics: Metrics) -> Sentence | None:
    """Say how small the adapter is beside its base; None while a number is missing."""
    names = ("adapter_bytes", "base_bytes", "trainable_parameters", "total_parameters")
    size, whole, trained, total = (number(metrics.get(name)) for name in names)
    if not (size and whole and trained and total and min(size, whole, trained) > 0 and trained < total):
        return None
    values = {"size": megabytes(size), "whole": megabytes(whole), "share": trained / total}
    return _("{size} instead of {whole}: {share:.1%} of the weights were trained", **values)


def megabytes(size: float) -> Sentence:
    """Return a size in MB, or in GB from 1000 MB on."""
    return _("{size:.1f} GB", size=size / 1e9) if size >= 1e9 else _("{size:,.0f} MB", size=math.ceil(size / 1e6))


def _so_far(state: RunState) -> str:
    """Return every prompt with the base's answer and the newest one."""
    title = f"<h3>{html.escape(_('What it learns'))}</h3>"
    samples = state.curve("samples")
    if not samples:
        words = _("At each evaluation its answers to up to three prompts appear here, beside those of the base.")
        return title + hint_html(words)
    (first, before), (step, now) = samples[0], samples[-1]
    base = {answer["prompt"]: str(answer["answer"]) for answer in before} if first == 0 else {}
    newest = _("Now, at step {step:,}", step=step) if step else _("With your adapter")
    waiting = _("After the first evaluation.")
    pairs = [
        pair_html(answer["prompt"], base.get(answer["prompt"], ""), str(answer["answer"]) if step else waiting, newest)
        for answer in now
    ]
    return title + "".join(pairs)


def sample_answers(state: RunState) -> str:
    """Return each prompt with its answers at every evaluation, the newest first, as HTML."""
    samples = state.curve("samples")
    if not samples:
        return hint_html(_("There are none yet."))
    parts = []
    for prompt in [answer["prompt"] for answer in samples[-1][1]]:
        parts.append(f"<h4>{html.escape(prompt)}</h4><dl>")
        for step, answers in reversed(samples):
            for answer in [answer for answer in answers if answer["prompt"] == prompt][:1]:
                label = _("step {step:,}", step=step) if step else _("before")
                parts.append(f"<dt>{html.escape(label)}</dt><dd>{lines_html(str(answer['answer']))}</dd>")
        parts.append("</dl>")
    return "".join(parts)
