"""`modelyard check`: faults of templates and definitions that would show only when deployed or run."""
