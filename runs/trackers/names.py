"""Which trackers there are, and the packages that write them: extras. What is wrong with a list of them."""

from importlib.util import find_spec

from common.language import Sentence, _

PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb", "trackio": "trackio"}


def trackers_in(report_to: str) -> list[str]:
    """Return the trackers that a setting names, each once."""
    return list(dict.fromkeys(name.strip() for name in report_to.split(",") if name.strip()))


def tracker_problem(name: str) -> Sentence | None:
    """Say why a tracker cannot be used here: it is not known, or its package is not installed; None when it can."""
    if name not in PACKAGES:
        known = ", ".join(PACKAGES)
        return _("There is no tracker '{name}'. Use one of: {names}.", name=name[:80], names=known)
    if find_spec(PACKAGES[name]) is None:
        return _("{package} is not installed. Install it: `pip install {package}`", package=PACKAGES[name])
    return None
