"""Is this folder an adapter that may be believed? What comes from elsewhere is checked here before anything loads it.

`adapter_config.json` can make PEFT import modules by name, match hostile patterns or grow the base; a tokenizer can name
code, a chat template can count for ever. Only what is listed here passes.
"""

import json
import re
from functools import lru_cache
from pathlib import Path

from adapters.tokenizer_file import check_tokenizer_file
from adapters.try_template import try_template
from adapters.weights import MODULES, Weights, check_weights
from common.errors import UserError
from models import embedded
from models.base import DEFAULT_BASE, KEEPING_THE_BASE

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json")
TOKENIZER_FILES += ("added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja")
OUR_FILES = ("training_config.yaml", "metrics.json", "samples.json", "README.md", "loss.png", "LICENSE")
FILES = (CONFIG, WEIGHTS, *TOKENIZER_FILES, *OUR_FILES)
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
MOST_WEIGHT_BYTES = 2_000_000_000
MOST_FILE_BYTES = 20_000_000
MOST_METRICS_BYTES = 100_000
MOST_TEMPLATE = 20_000
MOST_TEMPLATES = 5
WIDENING = {"center", "format", "format_map", "wordwrap", "ljust", "rjust", "zfill", "expandtabs"}
MOST_RANK = 256
_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_PLACE = re.compile(r"(?:[a-z0-9_]{1,20}\.){0,6}[a-z_]{1,20}")
_REVISION = re.compile(r"[\w][\w./-]{0,99}")
_CLASS = re.compile(r"[A-Za-z0-9]{1,60}Tokenizer(Fast)?|PreTrainedTokenizerFast|TokenizersBackend")
# fields of LoraConfig that change what is computed, or what is imported, beyond a plain LoRA
REFUSED = {
    "modules_to_save": "trains whole layers of the base",
    "auto_mapping": "names code to import",
    "megatron_config": "names code to import",
    "layer_replication": "repeats layers of the base",
    "trainable_token_indices": "changes tokens of the base",
    "rank_pattern": "gives layers different ranks",
    "alpha_pattern": "gives layers different scales",
    "exclude_modules": "leaves layers out by a pattern",
    "layers_to_transform": "picks single layers",
    "layers_pattern": "picks layers by a pattern",
    "target_parameters": "changes parameters outside of the linear layers",
    "alora_invocation_tokens": "is an activated LoRA",
    "lora_bias": "trains biases",
    "fan_in_fan_out": "is for another kind of layer",
    "monteclora_config": "is another kind of LoRA",
    "arrow_config": "is another kind of LoRA",
    "use_qalora": "is another kind of LoRA",
    "use_bdlora": "is another kind of LoRA",
    "velora_config": "is another kind of LoRA",
    "kasa_config": "is another kind of LoRA",
    "eva_config": "starts from data that is not here",
    "corda_config": "starts from data that is not here",
    "lora_ga_config": "starts from data that is not here",
    "loftq_config": "quantises the base in its own way",
    "runtime_config": "changes how it is loaded",
    "ensure_weight_tying": "trains whole layers of the base",
}
SWITCHES = ("use_rslora", "use_dora", "inference_mode")
# what PEFT writes with values of no consequence for a finished adapter
HARMLESS = {
    "init_lora_weights": KEEPING_THE_BASE,
    "bias": ("none",),
    "task_type": ("CAUSAL_LM",),
    "peft_type": ("LORA",),
    "megatron_core": ("megatron.core",),
    "qalora_group_size": (16,),
}


def check_adapter(folder: Path, base_config: dict | None = None, is_own: bool = False) -> Weights:
    """Raise UserError unless `folder` holds a whole, harmless LoRA of a Llama; with `base_config`, of that base.

    One that was trained here has the tokenizer of the base that was chosen, whatever its parts are.
    """
    config = check_config(read_object(folder / CONFIG))
    for name in ("special_tokens_map.json", "added_tokens.json", "vocab.json"):
        if (folder / name).exists():
            read_object(folder / name)
    if (folder / "metrics.json").exists():  # it is read whenever the library is shown
        read_object(folder / "metrics.json", MOST_METRICS_BYTES)
    if (folder / "tokenizer.json").exists() and not is_own:
        check_tokenizer_file(read_object(folder / "tokenizer.json"))
    check_words(folder)
    return check_weights(folder / WEIGHTS, config, base_config)


def check_words(folder: Path) -> None:
    """Raise UserError unless the tokenizer's config and the chat template in `folder` are harmless."""
    if (folder / "tokenizer_config.json").exists():
        check_tokenizer_config(read_object(folder / "tokenizer_config.json"))
    if (folder / "chat_template.jinja").exists():
        check_template((folder / "chat_template.jinja").read_text(encoding="utf-8", errors="replace"))


def read_object(path: Path, most_bytes: int = MOST_FILE_BYTES) -> dict:
    """The JSON object in `path`. Raises UserError when it is missing, too large, or something else."""
    try:
        if path.stat().st_size > most_bytes:
            raise UserError(
                f"{path.name} has {path.stat().st_size / 1e6:.1f} MB.", "That is no such file. Not imported."
            )
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path.name} is missing or damaged.", "Get the adapter again.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path.name} holds no JSON object.", "Get the adapter again.")
    return value


def check_config(config: dict) -> dict:
    """The adapter_config.json as given, when it is a plain LoRA. Raises UserError with the first field that is not."""
    if config.get("peft_type") != "LORA":
        raise UserError(f"This is a {str(config.get('peft_type'))[:40]} adapter.", "Only LoRA adapters run here.")
    for name, reason in REFUSED.items():
        if config.get(name):
            raise UserError(f"adapter_config.json sets {name}: it {reason}.", "Such adapters do not run here.")
    for name, allowed in HARMLESS.items():
        if config.get(name) is not None and config[name] not in allowed:
            raise UserError(
                f"adapter_config.json sets {name} to {str(config[name])[:40]!r}.", "That is not known here."
            )
    odd = [name for name in SWITCHES if config.get(name) not in (None, True, False)]
    dropout = config.get("lora_dropout")
    if odd or not (dropout is None or (isinstance(dropout, int | float) and 0 <= dropout <= 1)):
        raise UserError(
            f"adapter_config.json sets {odd[0] if odd else 'lora_dropout'} to something odd.", "Not imported."
        )
    rank, alpha, targets = config.get("r"), config.get("lora_alpha"), config.get("target_modules")
    if type(rank) is not int or not 1 <= rank <= MOST_RANK:
        raise UserError(f"The rank is {str(rank)[:40]}.", f"It must be between 1 and {MOST_RANK}.")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha <= 100_000:
        raise UserError(f"lora_alpha is {str(alpha)[:40]}.", "It must be a positive number.")
    if targets != "all-linear" and not (isinstance(targets, list) and targets and all(map(_is_module, targets))):
        raise UserError(f"target_modules is {str(targets)[:80]}.", f"It must be a list of {', '.join(MODULES)}.")
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not (_ID.fullmatch(base) or Path(base).is_absolute()):
        raise UserError(f"The base is named '{str(base)[:80]}'.", "It must be a Hub id, owner/name.")
    revision = config.get("revision")
    if revision is not None and (
        not isinstance(revision, str) or not _REVISION.fullmatch(revision) or ".." in revision
    ):
        raise UserError(f"The revision of the base is '{str(revision)[:80]}'.", "That is no commit, tag or branch.")
    return config


def _is_module(name: object) -> bool:
    """A linear layer of a Llama, by its own name or by its place in the model; never a pattern."""
    return isinstance(name, str) and bool(_PLACE.fullmatch(name)) and name.rsplit(".", 1)[-1] in MODULES


def check_tokenizer_config(config: dict) -> None:
    """Raise UserError for a tokenizer that names code, or whose chat template could run for ever."""
    if config.get("auto_map"):
        raise UserError("The tokenizer brings code of its own (auto_map).", "Code from elsewhere is not run.")
    name = config.get("tokenizer_class")
    if name is not None and not (isinstance(name, str) and _CLASS.fullmatch(name)):
        raise UserError(f"The tokenizer is of the class '{str(name)[:60]}'.", "That is no tokenizer of transformers.")
    template = config.get("chat_template")
    listed = template if isinstance(template, list) else [template]
    if len(listed) > MOST_TEMPLATES:
        raise UserError(f"The tokenizer brings {len(listed)} chat templates.", f"{MOST_TEMPLATES} are the most.")
    for one in listed:
        text = one.get("template") if isinstance(one, dict) else one
        if text is not None and not isinstance(text, str):
            raise UserError("The chat template is not text.", "Not imported.")
        if text:
            check_template(text)


@lru_cache(maxsize=256)  # of those that passed: a trial takes a third of a second
def check_template(text: str) -> None:
    """Raise UserError for a chat template that could take for ever or fill the memory (jinja's sandbox stops neither)."""
    from jinja2 import Environment, TemplateError, nodes

    if len(text) > MOST_TEMPLATE:
        raise UserError(f"The chat template has {len(text):,} characters.", f"{MOST_TEMPLATE:,} are the most.")
    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(_without_marks(text))
    except (TemplateError, RecursionError) as error:
        raise UserError("The chat template cannot be read.", str(error).splitlines()[0][:120]) from error
    loops = list(tree.find_all(nodes.For))
    calls = {call.node.name for call in tree.find_all(nodes.Call) if isinstance(call.node, nodes.Name)}
    deep = any(inner.find(nodes.For) for loop in loops for inner in loop.find_all(nodes.For))
    recursive = any(loop.recursive for loop in loops)
    if tree.find((nodes.Mul, nodes.Pow)) or calls & {"range", "lipsum"} or deep or recursive or tree.find(nodes.Macro):
        raise UserError(
            "The chat template multiplies, counts, or nests loops deeply.", "Such templates can run for ever."
        )
    filters = {one.name for one in tree.find_all(nodes.Filter)} | {one.attr for one in tree.find_all(nodes.Getattr)}
    if filters & WIDENING or any(_is_text(one.left) for one in tree.find_all(nodes.Mod)):
        raise UserError("The chat template pads or formats text to any width.", "Such templates can fill the memory.")
    try_template(_without_marks(text))


def _is_text(node) -> bool:
    from jinja2 import nodes

    return isinstance(node, nodes.Const) and isinstance(node.value, str)


def _without_marks(text: str) -> str:
    """The template without the {% generation %} marks that transformers adds to jinja."""
    return re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", text)


def known_base_config(model_id: str) -> dict | None:
    """The config.json of a base as far as it is on this machine, for comparing shapes; None when it is not."""
    from huggingface_hub import try_to_load_from_cache

    folders = [embedded.folder()] if model_id == embedded.HUB_ID else []
    cached = try_to_load_from_cache(model_id, "config.json") if _ID.fullmatch(model_id) else None
    folders += [Path(cached).parent] if isinstance(cached, str) else []
    folders += [Path(model_id)] if Path(model_id).is_absolute() else []
    for folder in folders:
        if (folder / "config.json").is_file():
            return check_base_config(model_id, read_object(folder / "config.json"))
    return dict(TINYLLAMA) if model_id == DEFAULT_BASE else None


def check_base_config(model_id: str, config: dict) -> dict:
    """The config.json of a base as given. Raises UserError unless it is a Llama's, with the numbers that shapes need."""
    if config.get("model_type") != "llama":
        words = f"Its base, {model_id}, is a {str(config.get('model_type'))[:40]} model."
        raise UserError(words, "Only adapters of Llama models run here.")
    numbers = [config.get(name) for name in TINYLLAMA]
    numbers[-1] = numbers[-2] if numbers[-1] is None else numbers[-1]  # older configs say nothing of key-value heads
    if not all(type(number) is int and 0 < number < 1_000_000 for number in numbers):
        raise UserError(f"The config.json of its base, {model_id}, is damaged.", "Not imported.")
    return config


# the shapes of the default base, so that they can be compared without a network
TINYLLAMA = {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22}
TINYLLAMA |= {"num_attention_heads": 32, "num_key_value_heads": 4}
