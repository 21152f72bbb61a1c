"""Code that runs in containers: the steps of the pipelines, the image's entry points and the model server."""
