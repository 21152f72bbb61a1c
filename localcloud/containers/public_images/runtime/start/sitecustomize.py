"""Python runs this at its start in every container of AWS's public images."""

import importlib

for _name in ("older", "toolkits"):
    importlib.import_module(f"aws_images.{_name}").install()
