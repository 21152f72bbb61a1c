"""What a training says of itself while it runs: lines of the log that are metrics, and one for people.

recorder    what the training loop sees
goodput     the share of the paid time that went into steps which count, and the cost
window      figures of the steps since the last line
names       the metrics
lines       CloudWatch's embedded metric format
machine     how busy the GPU and the CPUs are
progress    the line for people
weights_and_biases    the same figures for Weights & Biases, in a process of its own
settings    what the environment says
"""
