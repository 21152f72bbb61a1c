"""Images that are uploaded one by one, packed for training: a queue's workers, and the dataset they make.

S3 tells of each object that came, changed or went; SQS holds these events, and delivers each at least once,
in any order. Workers turn them into tar shards and a ledger that names each image once:

    events      what a message says
    recipe      how the images are prepared
    records     what the ledger holds of an image
    ports, aws  the queue, the bucket and the table, as the worker sees them; the same with boto3
    batch       the steps of a worker, in the order that makes it safe to die between any two
    keeper      holds on to messages meanwhile
    progress    figures, and when the queue will be empty
    telemetry   the same for CloudWatch
    documents   the manifest: what a trainer reads, made of the ledger
    garbage     shards that nothing names
    worker, manifest    the commands
"""
