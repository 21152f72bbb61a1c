"""Hyperparameter tuning jobs: training jobs in search of the best hyperparameters."""
