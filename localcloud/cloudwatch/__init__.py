"""CloudWatch's alarms, evaluated by AWS's rules on MiniStack's metrics."""
