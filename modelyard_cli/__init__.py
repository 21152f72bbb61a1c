"""The `modelyard` command: convenience over public AWS APIs, against a local cloud or a real account."""
