"""Training on machines that others own: Slurm, SkyPilot, Hugging Face Jobs. No runtime of our own, one idempotent line."""
