"""The steps of the tabular pipelines: validate, preprocess, train, evaluate."""
