"""One module per family of pipelines, each with `build(spec)`, which returns the SDK's `Pipeline`."""

import pipeline_defs.session  # noqa: F401  it prepares the process, so it comes before any import of the SDK
