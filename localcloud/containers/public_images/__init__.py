"""AWS's public XGBoost, scikit-learn and PyTorch images, on the interpreter that runs the local cloud."""
