"""The app's stacks: composition and grants, one file each."""
