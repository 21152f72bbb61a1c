"""How far the training is, for people."""

from __future__ import annotations

from training.vision.telemetry.window import Window

_MINUTE, _HOUR = 60, 3600


def progress_line(
    window: Window,
    *,
    total: int,
    goodput: float,
    cost: float,
    checkpoint_age: float | None,
    age: float,
    clock: float,
) -> str:
    """One line of the steps since the last one.

    Args:
        total: steps of the training; 0: unknown.
        goodput: from 0 to 1.
        cost: so far; 0: not told.
        checkpoint_age: seconds; None: there are none.
        age: of the last step, seconds.
        clock: seconds since the last line.

    Example:
        >>> from training.vision.telemetry.window import Step
        >>> window = Window()
        >>> window.add(Step(number=20, epoch=2, seconds=0.05, wait=0.001, images=64, loss=0.5, rate=0.001))
        >>> line = progress_line(window, total=100, goodput=0.9, cost=0, checkpoint_age=30, age=0, clock=0.05)
        >>> line.partition(", step 5")[0]
        'epoch 2, step 20 of 100: loss 0.5, rate 0.001, 1280 images/s'
        >>> line.partition("images/s, ")[2]
        'step 50 ms, data wait 2 %, goodput 90 %, checkpoint 30 s old, ends in about 4 s'
    """
    last = window.last
    checkpoint = [] if checkpoint_age is None else [f"checkpoint {_duration(checkpoint_age)} old"]
    if last is None:
        return ", ".join([f"no step for {_duration(age)}", *checkpoint])
    parts = [f"epoch {last.epoch}, step {last.number}" + (f" of {total}" if total else "")]
    loss = f"loss {window.loss:.4g}" if window.loss is not None else "loss is not a number"
    figures = [loss, f"rate {last.rate:.3g}"]
    if window.norm is not None:
        figures.append(f"gradient {window.norm:.3g}")
    if window.seconds:
        figures += [
            f"{window.images_per_second or 0:.0f} images/s",
            f"step {1000 * window.seconds / window.steps:.0f} ms",
            f"data wait {100 * (window.wait_share or 0):.0f} %",
        ]
    figures.append(f"goodput {100 * goodput:.0f} %")
    if cost:
        figures.append(f"cost {cost:.2f}")
    figures += checkpoint
    if total and clock > 0:
        left = (total - last.number) * clock / window.steps
        figures.append(f"ends in about {_duration(left)}")
    return f"{parts[0]}: {', '.join(figures)}"


def _duration(seconds: float) -> str:
    """
    >>> [_duration(each) for each in (4, 90, 5400)]
    ['4 s', '1.5 min', '1.5 h']
    """
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.1f} min"
    return f"{seconds / _HOUR:.1f} h"
