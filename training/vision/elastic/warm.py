"""Imported once on each host, by the process that ranks fork from."""

from __future__ import annotations

from training.vision.elastic.worker import warm

warm()
