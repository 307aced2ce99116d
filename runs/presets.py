"""Three starting points for the settings. A preset is a few changes to the defaults; everything else stays as it is."""

from dataclasses import fields
from typing import Any

from common.errors import UserError
from runs.config import TrainConfig

QUICK, DEFAULT, THOROUGH = "Quick try", "Good default", "Thorough"
PRESETS: dict[str, dict[str, Any]] = {
    QUICK: {"max_steps": 20, "lora_r": 8, "lora_alpha": 16, "max_length": 512, "save_steps": 10},
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
    QUICK: "Twenty steps at a low rank: does it work at all? Minutes.",
    DEFAULT: "Two passes over the data: what most adapters need.",
    THOROUGH: "Four slower passes at a higher rank: for some hundred rows and more.",
}


def preset_values(name: str) -> dict[str, Any]:
    """Return the value of every field that any preset changes: applying one undoes what another one did. Raises UserError."""
    if name not in PRESETS:
        raise UserError(f"There is no preset '{name}'.", f"Choose one of {', '.join(PRESETS)}.")
    touched = {field for changes in PRESETS.values() for field in changes}
    defaults = {item.name: item.default for item in fields(TrainConfig) if item.name in touched}
    return {**defaults, **PRESETS[name]}
