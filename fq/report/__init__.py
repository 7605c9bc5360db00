"""What ``python -m fq report`` does: which tensors of a file suffer at which bits, measured from the file alone."""
