"""What the training process is made of; `trainer/train.py` puts it together."""
