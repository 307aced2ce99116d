"""The settings of the Chat tab: system prompt, sampling, and what happens when the context window is full."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from chat.sampling import BALANCED, REPEATABLE, Sampling
from common.language import _, said

# What a slider shows; the engine's own limits, which are wider, hold for everybody.
SLIDERS = {
    "max_new_tokens": (16, 1024, 16, _("Longest answer in tokens")),
    "temperature": (0, 2, 0.1, _("Temperature")),
    "top_p": (0.05, 1, 0.05, _("Top-p")),
    "top_k": (0, 200, 1, _("Top-k")),
    "repetition_penalty": (0.8, 1.5, 0.05, _("Repetition penalty")),
}
CUSTOM = "custom"
NAMED = {"balanced": BALANCED, "repeatable": REPEATABLE}
NAMED_FIELDS = ("temperature", "top_p", "top_k", "repetition_penalty")  # what a named choice of sampling decides
LEAVE_OUT, SUMMARISE = "leave out", "summary"
PRESETS = {
    "None": (_("None"), ""),
    "Short and clear": (_("Short and clear"), _("Answer in at most three short sentences.")),
    "Patient teacher": (
        _("Patient teacher"),
        _(
            "You are a patient teacher. Explain step by step in simple words, then ask one question to check understanding."
        ),
    ),
    "Careful": (_("Careful"), _("If you are not sure, say so. Never make up facts, names or numbers.")),
    "Programmer": (
        _("Programmer"),
        _("You are an experienced programmer. Answer with working code first, then one sentence about it."),
    ),
}


@dataclass
class Settings:
    """The components of the settings."""

    preset_dropdown: gr.Dropdown
    system_box: gr.Textbox
    full_radio: gr.Radio
    summary_box: gr.Textbox
    named_radio: gr.Radio
    sampling: dict[str, Any]  # Slider, Number or Checkbox, by the name of the setting


def lay_out_settings() -> Settings:
    """Draw system prompt, sampling and summary; returns their components."""
    presets = [(str(label), name) for name, (label, _text) in PRESETS.items()]
    preset_dropdown = gr.Dropdown(presets, value="None", label=str(_("System prompt preset")))
    system_box = gr.Textbox(
        "", label=str(_("System prompt")), lines=2, info=str(_("Comes before the conversation and is never left out."))
    )
    named_radio = gr.Radio(
        [(str(_("Balanced")), "balanced"), (str(_("Repeatable")), "repeatable"), (str(_("Custom")), CUSTOM)],
        value="balanced",
        label=str(_("Sampling")),
        info=str(_("Balanced: lively answers. Repeatable: always the likeliest token, to compare and measure.")),
    )
    sampling: dict[str, Any] = {}
    for one in fields(Sampling):
        help = said(one.metadata["help"])
        if one.name in SLIDERS:
            low, high, step, label = SLIDERS[one.name]
            value = getattr(BALANCED, one.name)
            sampling[one.name] = gr.Slider(low, high, value, step=step, label=str(label), info=help)
        elif one.name == "seed":
            sampling[one.name] = gr.Number(0, label=str(_("Seed")), precision=0, minimum=0, info=help)
        else:
            label = str(_("Stop an answer that repeats itself"))
            sampling[one.name] = gr.Checkbox(BALANCED.stop_repetition, label=label, info=help)
    full_radio = gr.Radio(
        [
            (str(_("Leave out the oldest turns")), LEAVE_OUT),
            (str(_("Keep a summary, written by the model")), SUMMARISE),
        ],
        value=LEAVE_OUT,
        label=str(_("When the context window is full")),
    )
    summary_box = gr.Textbox(
        "",
        label=str(_("Summary of what was left out")),
        lines=3,
        visible=False,
        info=str(_("You can correct it.")),
    )
    return Settings(preset_dropdown, system_box, full_radio, summary_box, named_radio, sampling)


def named_values(name: str) -> list[float]:
    """Return the values of NAMED_FIELDS in a named choice of sampling."""
    return [getattr(NAMED.get(name, BALANCED), field) for field in NAMED_FIELDS]


def name_of(*values: Any) -> str:
    """Return the named choice with these values of NAMED_FIELDS, CUSTOM when none has them."""
    return next((name for name in NAMED if tuple(named_values(name)) == values), CUSTOM)


def sampling_of(values: dict[str, Any]) -> Sampling:
    """Return the settings from their components' values, by name. Raises UserError for values that cannot be used."""
    whole = ("max_new_tokens", "top_k", "seed")
    found: dict[str, Any] = {
        name: int(value) if name in whole and isinstance(value, float) and value.is_integer() else value
        for name, value in values.items()
    }
    found["seed"] = found.get("seed") or 0
    sampling = Sampling(**found)
    sampling.check()
    return sampling
