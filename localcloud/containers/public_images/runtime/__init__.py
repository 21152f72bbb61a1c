"""What runs inside the containers of AWS's public images; imports nothing of the local cloud.

Copied into the image as the package `aws_images`, see Dockerfile.
"""
