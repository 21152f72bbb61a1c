"""What steps and model server share: the container contract, and how a row becomes a prediction."""
