"""Checkpoints: what a training job needs to go on as if nothing had happened.

    step-00001200-0f3a9c51d2b4.ckpt    immutable: a header and the state, named by step and content
    latest.json                        the pointer: the last one, the best one, and all that are kept

`store` is a folder or a prefix in S3. `journal` decides which run may write, and what is pruned. `format` is
the bytes of a checkpoint. `saver` is what the training loop sees: when to write, and when to stop.
"""
