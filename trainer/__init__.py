"""The training process, started by `accelerate launch`; `python -m trainer` is the command line of runs."""
