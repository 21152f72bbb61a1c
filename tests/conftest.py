"""Makes the Lambda functions' code importable: `pipeline_runtime`, and likewise for each of `DOMAINS`.

In Lambda the packages above each `runtime` are empty. Imported here as `modelyard.pipeline.runtime`, it would
bring the constructs around it, hence aws_cdk and its Node process, into tests that take milliseconds.
"""

import importlib.util
import sys
from pathlib import Path

LIBRARY = Path(__file__).parents[1] / "constructs" / "modelyard"
DOMAINS = ("pipeline", "serving", "inference", "storage", "training")

for domain in DOMAINS:
    folder = LIBRARY / domain / "runtime"
    spec = importlib.util.spec_from_file_location(
        f"{domain}_runtime", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = package
    spec.loader.exec_module(package)
