"""Pictures of pipelines: what waits for what, and what an execution made of it."""
