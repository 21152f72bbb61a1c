"""The steps of the tabular classification pipelines: validate, preprocess, trial, refit, evaluate."""
