"""On whose machine this runs: a Space of the Hub, a notebook on Colab or Kaggle, or none of them."""

import os


def on_space() -> bool:
    """Return whether this is a Space of the Hub."""
    return bool(os.environ.get("SPACE_ID"))


def on_kaggle() -> bool:
    """Return whether this is a notebook on Kaggle."""
    return bool(os.environ.get("KAGGLE_KERNEL_RUN_TYPE"))


def on_colab() -> bool:
    """Return whether this is a notebook on Colab. Kaggle's image is made from Colab's, and sets Colab's variable, too."""
    return bool(os.environ.get("COLAB_RELEASE_TAG")) and not on_kaggle()
