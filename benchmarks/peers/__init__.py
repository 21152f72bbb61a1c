"""The same ten empty steps on the local runtimes of others; run with the Python of `.venv-peers`."""
