"""Which model of the Hub the folder is that an adapter was trained on: said by its owner, compared, and kept for a push.

By the SHA-256 of the weights, which the Hub lists; where the folder splits or stores them otherwise, by config.json and the
shapes of all tensors, and then the card says so. The adapter here stays on its folder; what is sent names the Hub's model at the
commit that was compared.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.library import Adapter, update_record
from common.errors import UserError
from common.language import Sentence, _
from models.base import check_folder
from models.family import shape_from, shape_of
from models.hub.client import Token, client, errors_explained, parse_repo
from models.hub.fetch import Progress
from models.hub.transfer import base_config_of, is_same

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

RECORD = "hub_base"
MAX_FILES = 200
MAX_INDEX_BYTES = 10_000_000
OTHER = _(
    "Choose the model that the folder is a copy of. If it was trained further, there is no copy on the Hub: push it first."
)


@dataclass(frozen=True)
class HubBase:
    """The model of the Hub that `folder` is a copy of, at a commit.

    `is_same` says that the weights were compared byte for byte; False: config and shapes only.
    """

    folder: str
    model_id: str
    revision: str
    is_same: bool

    def sentence(self) -> Sentence:
        """Return how the folder was found to be the model, in words."""
        values = {"folder": Path(self.folder).name, "model": self.model_id}
        if self.is_same:
            return _("The weights of '{folder}' are those of {model}, byte for byte.", **values)
        return _(
            "'{folder}' has the config and the shapes of {model}. Its weights are in other files, so the numbers themselves "
            "were not compared; the model card will say so.",
            **values,
        )


def name_hub_base(
    adapter: Adapter, wanted: str, token: Token, progress: Progress = lambda what, fraction: None
) -> HubBase:
    """Compare the folder that `adapter` was trained on with the model `wanted`, and keep the result for its pushes.

    Raises UserError when the adapter's base is none, and when the two differ.
    """
    folder = Path(adapter.base)
    if not folder.is_absolute():
        words = _("The base of '{name}' is on the Hub already: {base}.", name=adapter.title, base=adapter.base)
        raise UserError(words, _("Push it as it is."))
    if not folder.is_dir():
        words = _("The folder of its base, '{folder}', is gone.", folder=folder.name)
        raise UserError(words, _("Put it back to compare it."))
    check_folder(folder)
    model_id, revision = parse_repo(wanted)
    progress(_("Checking {model}", model=model_id), 0.05)
    with errors_explained(model_id):
        info = client(token).model_info(model_id, revision=revision, files_metadata=True)
    there = {file.rfilename: file for file in info.siblings or [] if file.rfilename.endswith(".safetensors")}
    here = {path.name: path for path in sorted(folder.glob("*.safetensors"))}
    if not there:
        raise UserError(_("{model} has no safetensors weights.", model=model_id), OTHER)
    has_same_files = all(name in there and there[name].size == path.stat().st_size for name, path in here.items())
    if has_same_files:
        _compare_bytes(model_id, here, there, progress)
    else:
        _compare_shapes(folder, here, model_id, info.sha, info.siblings or [], token)
    found = HubBase(adapter.base, model_id, info.sha, has_same_files)
    update_record(adapter.folder, **{RECORD: asdict(found)})
    progress(_("Done"), 1.0)
    return found


def on_hub(adapter: Adapter) -> tuple[Adapter, HubBase | None]:
    """Return the adapter as it is sent: of one on a folder with the Hub's model as its base, and what is known of that.

    Raises UserError while nobody said which model the folder is.
    """
    if not Path(adapter.base).is_absolute() and "/" in adapter.base:
        return adapter, None
    kept = adapter.record.get(RECORD)
    if not isinstance(kept, dict) or kept.get("folder") != adapter.base:
        raise UserError(
            _("The base of '{name}' is a folder on this machine, which nobody else could load.", name=adapter.title),
            _(
                "Say which model on the Hub the folder is: in the field for it on the page, with --base on the command line."
            ),
        )
    model_id, revision = str(kept.get("model_id")), str(kept.get("revision"))
    found = HubBase(adapter.base, model_id, revision, kept.get("is_same") is True)
    named = {"base_model_name_or_path": found.model_id, "revision": found.revision}
    metrics = {**adapter.metrics, "base": found.model_id, "base_source": "hub"}
    changed = {"base": found.model_id, "base_revision": found.revision, "metrics": metrics}
    return replace(adapter, config={**adapter.config, **named}, **changed), found


def _compare_bytes(model_id: str, here: dict[str, Path], there: dict[str, "RepoSibling"], progress: Progress) -> None:
    """Raise UserError unless every file has the hash that the Hub lists."""
    for number, (name, path) in enumerate(here.items()):
        progress(_("Comparing {file}", file=name), 0.1 + 0.9 * number / len(here))
        if not is_same(path, there[name]):
            raise UserError(_("The folder is not {model}: {file} differs.", model=model_id, file=name), OTHER)


def _compare_shapes(
    folder: Path, here: dict[str, Path], model_id: str, commit: str, files: list["RepoSibling"], token: Token
) -> None:
    """Raise UserError unless config.json and the shapes of all tensors are those of the model on the Hub."""
    from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError
    from huggingface_hub.utils import disable_progress_bars
    from safetensors import safe_open

    index = next((file.size or 0 for file in files if file.rfilename == "model.safetensors.index.json"), 0)
    config = base_config_of(model_id, commit)
    if config is None or index > MAX_INDEX_BYTES or len(files) > MAX_FILES:
        raise UserError(
            _("The config and the shapes of {model} cannot be read.", model=model_id),
            _("Choose a model that everybody may read."),
        )
    shapes = [replace(shape, stored_bytes=2) for shape in (shape_of(folder), shape_from(config, model_id))]
    if shapes[0] != shapes[1]:
        raise UserError(_("The folder is not {model}: the sizes in config.json differ.", model=model_id), OTHER)
    disable_progress_bars()
    try:
        with errors_explained(model_id):
            found = client(token).get_safetensors_metadata(model_id, revision=commit)
    except (NotASafetensorsRepoError, SafetensorsParsingError) as error:
        raise UserError(_("The shapes of {model} cannot be read.", model=model_id), OTHER) from error
    theirs = {name: tensor.shape for file in found.files_metadata.values() for name, tensor in file.tensors.items()}
    mine = {}
    for path in here.values():
        with safe_open(path, framework="numpy") as file:
            mine |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118, no mapping
    tied = {"lm_head.weight"} if shapes[0].tie_word_embeddings else set()  # some write it twice
    names = {name for name in mine.keys() | theirs.keys() if not name.endswith("rotary_emb.inv_freq")} - tied
    odd = sorted(name for name in names if mine.get(name) != theirs.get(name))
    if odd:
        raise UserError(
            _(
                "The folder is not {model}: {tensor} has another shape, or is in one of them only.",
                model=model_id,
                tensor=odd[0][:80],
            ),
            OTHER,
        )
