"""An elastic job: hosts come and go, and the training goes on with those that are there.

`rendezvous` holds the store at which hosts meet, apart from all of them, so that any host may be lost. On each
host `launch` lays the job out (`job`, `settings`) and runs an agent (`agent`), which starts a process for each
rank (`worker`). When the hosts change, every rank writes off its work since the last checkpoint, or, where a
host says before it goes, agrees with the others on a step and writes one; then all start again from it.
https://docs.pytorch.org/docs/stable/distributed.elastic.html
"""
