"""Continues from an adapter: checks that it belongs to the base, and puts it there, trainable.

The adapter is a folder in the run (`init_adapter/`), copied there before the start, or a checkpoint of the stage before.
Safetensors only.
"""

from pathlib import Path

from common.errors import UserError
from common.files import read_json
from common.language import _
from models.adapter_fit import HINT, check_base, check_fits
from models.base import Base

WEIGHTS = "adapter_model.safetensors"


def check_init_adapter(folder: Path, name: str, base: Base) -> None:
    """Raise UserError when `folder` is no LoRA in safetensors, or of another base."""
    values = read_json(folder / "adapter_config.json", {})
    if not isinstance(values, dict) or values.get("peft_type") != "LORA":
        raise UserError(_("The adapter '{name}' is not there, or is not a LoRA adapter.", name=name), HINT)
    if values.get("modules_to_save") or values.get("trainable_token_indices"):
        words = _("The adapter '{name}' has embeddings of its own, which cannot be trained further here.", name=name)
        raise UserError(words, _("Merge it into its base, and train on the merged model."))
    if not (folder / WEIGHTS).is_file():
        raise UserError(
            _("The adapter '{name}' has no safetensors weights.", name=name),
            _("Other formats can run code and are not loaded."),
        )
    check_base(name, values.get("base_model_name_or_path"), base)


def load_adapter(model, folder: Path, name: str):
    """Put the adapter in `folder` on `model`, trainable, and return the whole. Raises UserError when it does not fit."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    check_fits(folder, model, name)
    base_folder = model.name_or_path
    try:
        model = PeftModel.from_pretrained(model, str(folder), is_trainable=True)
    except ValueError as error:  # its settings name modules that the base has not
        raise UserError(_("The adapter '{name}' does not fit this base.", name=name), HINT) from error
    with safe_open(folder / WEIGHTS, "pt") as file:
        saved = set(file.keys())
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    if {name for name in saved if "lora_" in name} != {name for name in wanted if "lora_" in name}:
        raise UserError(_("The adapter '{name}' does not fit this base: it is for other layers.", name=name), HINT)
    # PEFT looks the base up at every save and would ask the network for an id
    model.peft_config["default"].base_model_name_or_path = base_folder
    return model
