"""What others offer, doing the same: ten empty steps in a chain, and serving a model.

Run with the Python of `.venv-peers`.
"""
