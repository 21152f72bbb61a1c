"""Made-up measurements of shellfish, in the layout of the abalone data: no header, sex first, rings last."""

from __future__ import annotations

import random


def lines(count: int, seed: int = 1, *, label: bool = True) -> list[str]:
    """CSV lines; some fields are empty."""
    generator = random.Random(seed)
    made = []
    for _ in range(count):
        length = generator.uniform(0.1, 0.8)
        sizes = [length, length * 0.8, length * 0.27]
        whole = 4.2 * length**3 * generator.uniform(0.85, 1.15)
        weights = [whole, whole * 0.43, whole * 0.22, whole * generator.uniform(0.25, 0.35)]
        rings = max(1, round(4 + 12 * length + 8 * weights[3] + generator.gauss(0, 0.7)))
        sex = "I" if length < 0.4 else generator.choice("MF")
        fields = [sex, *(f"{value:.4f}" for value in (*sizes, *weights))]
        if generator.random() < 0.03:
            fields[generator.randrange(8)] = ""
        made.append(",".join([*fields, str(rings)] if label else fields))
    return made
