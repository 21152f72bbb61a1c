"""What Application Auto Scaling decides and when, without I/O; shared with `modelyard simulate scaling`."""
