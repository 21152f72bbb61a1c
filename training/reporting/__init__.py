"""The pages that evaluation writes for people. Not in the image: they travel with the steps' code."""
