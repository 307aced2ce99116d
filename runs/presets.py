"""Three starting points for the settings. A preset is a few changes to the defaults; everything else stays as it is."""

from dataclasses import fields
from typing import Any

from common.errors import UserError
from common.language import _, english
from runs.config import TrainConfig

LABELS = (_("Quick try"), _("Good default"), _("Thorough"))  # show a preset with `said(preset)`
QUICK, DEFAULT, THOROUGH = map(english, LABELS)
PRESETS: dict[str, dict[str, Any]] = {
    # on the example, 20 steps give every held-out answer the manner (benchmarks/README.md)
    QUICK: {"max_steps": 20, "learning_rate": 1e-3, "max_length": 512, "save_steps": 10},
    DEFAULT: {},
    THOROUGH: {
        "num_train_epochs": 4.0,
        "learning_rate": 2e-4,
        "lora_r": 32,
        "lora_alpha": 64,
        "gradient_accumulation_steps": 2,
        "save_steps": 25,
    },
}
HELP = {
    QUICK: _("{count} steps: enough to see a difference.", count=PRESETS[QUICK]["max_steps"]),
    DEFAULT: _("2 epochs: enough for most adapters."),
    THOROUGH: _("4 epochs with a larger adapter: for a few hundred examples or more."),
}


def preset_values(name: str) -> dict[str, Any]:
    """Return the value of every field that any preset changes: applying one undoes what another one did. Raises UserError."""
    if name not in PRESETS:
        raise UserError(
            _("There is no preset '{name}'.", name=str(name)[:80]),
            _("Choose one of {names}.", names=", ".join(PRESETS)),
        )
    touched = {field for changes in PRESETS.values() for field in changes}
    defaults = {item.name: item.default for item in fields(TrainConfig) if item.name in touched}
    return {**defaults, **PRESETS[name]}
