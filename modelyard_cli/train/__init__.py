"""`modelyard train`: jobs of the training cluster."""
