"""Names that the construct and the functions share; no boto3 in here."""

# Of the index that lists jobs, `open` and `ended`, by the time they were submitted.
INDEX = "standing"
# Members of the event with which the schedule asks for a sweep.
SWEEP = "sweep"
# What is said of jobs that end, beside what trainers say of theirs: `training/vision/telemetry/names.py`.
NAMESPACE = "Modelyard/Training"
CLUSTER = "Cluster"
JOBS_COMPLETED, JOBS_FAILED, JOBS_CANCELLED = "JobsCompleted", "JobsFailed", "JobsCancelled"
# And of their attempts: how many in a row got no hosts; how many were ended without a step; hosts taken away.
UNPLACED, STALLED, EVICTED = "AttemptsUnplaced", "AttemptsStalled", "HostsEvicted"
# Of instances, with the cluster's name: those that the functions may take away.
HOST_TAG = "modelyard:cluster"
SPOT_WARNING = "EC2 Spot Instance Interruption Warning"
