"""Continues from an adapter: puts it on the base, trainable, and refuses one that does not belong there.

The adapter is a folder in the run (`init_adapter/`), copied there before the start, or a checkpoint of the stage before.
Safetensors only.
"""

from pathlib import Path

from common.errors import UserError
from common.files import read_json
from models.base import Base

WEIGHTS = "adapter_model.safetensors"
HINT = "Choose an adapter of this base, or start without one."


def check_adapter(folder: Path, name: str, base: Base) -> dict:
    """The adapter's configuration. Raises UserError when `folder` is no LoRA in safetensors, or of another base."""
    values = read_json(folder / "adapter_config.json", {})
    if not isinstance(values, dict) or values.get("peft_type") != "LORA":
        raise UserError(f"The adapter '{name}' is not there, or is no LoRA adapter.", HINT)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"The adapter '{name}' has no safetensors weights.", "Other formats can run code.")
    trained_on = values.get("base_model_name_or_path") or base.model_id
    are_ids = base.source != "folder" and not Path(trained_on).is_absolute()  # of a folder, its shapes tell
    if are_ids and trained_on != base.model_id:
        raise UserError(
            f"The adapter '{name}' was trained on {trained_on}, and this run's base is {base.model_id}.", HINT
        )
    return values


def load_adapter(model, folder: Path, name: str):
    """`model` with the adapter in `folder` on it, ready to be trained on. Raises UserError when it does not fit."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            saved = set(file.keys())
        base_folder = model.name_or_path
        model = PeftModel.from_pretrained(model, str(folder), is_trainable=True)
    except SafetensorError as error:
        raise UserError(f"The weights of the adapter '{name}' cannot be read.", "Get or train it again.") from error
    except (RuntimeError, ValueError) as error:
        if isinstance(error, RuntimeError) and "size mismatch" not in str(error):
            raise
        raise UserError(f"The adapter '{name}' does not fit this base.", HINT) from error
    wanted = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    if _lora(saved) != _lora(wanted):
        raise UserError(f"The adapter '{name}' does not fit this base: it is for other layers.", HINT)
    # PEFT looks the base up at every save and would ask the network for an id
    model.peft_config["default"].base_model_name_or_path = base_folder
    return model


def _lora(names: set[str]) -> set[str]:
    return {name for name in names if "lora_" in name}
