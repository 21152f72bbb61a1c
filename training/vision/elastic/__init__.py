"""An elastic job: hosts come and go, and the training goes on with those that are there.

`rendezvous` holds the store at which hosts meet, apart from all of them, so that any host may be lost. On
each host `launch` lays the job out (`job`, `settings`) and runs an agent (`agent`), which starts a process
for each rank (`worker`). When a host is lost, the others go back to the last checkpoint. When one comes, or
says that it goes, all agree on a step, write a checkpoint of it, and start again from there.
https://docs.pytorch.org/docs/stable/distributed.elastic.html
"""
