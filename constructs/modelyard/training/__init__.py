"""Training on hosts that may vanish."""
