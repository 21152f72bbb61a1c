"""Processing, training and transform jobs that really run."""
