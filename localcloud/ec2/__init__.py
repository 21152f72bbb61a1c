"""EC2: hosts from launch templates run, as process groups, and SSM sends them commands."""
