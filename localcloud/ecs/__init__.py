"""ECS: tasks and services as processes of this machine, on hosts that are entries of a table."""
