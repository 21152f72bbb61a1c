"""Images as folders and containers as processes: what runs SageMaker's jobs and servers without Docker."""
