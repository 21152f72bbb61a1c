"""Entry points of the image: `python -m training.container train|serve|step`."""
