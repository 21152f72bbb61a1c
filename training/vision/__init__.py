"""Steps of pipelines for image classification."""
