# The image of the store in which the hosts of training jobs meet: PyTorch without CUDA, and a few files. Of its own,
# since all jobs wait while a new task pulls it, and since a new one ends their attempts: its hash is that of what is
# copied below, and does not change with the trainer.
# Built from this folder.
# By digest (of the index of all platforms): a tag is moved to a new build without notice.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

ENV PYTHONUNBUFFERED=1 \
    PYTHONPATH=/opt/program

WORKDIR /opt/program

# PyTorch's own index has it without CUDA; its versions end in +cpu, which a pin without it takes, and before others.
COPY requirements-rendezvous.txt /opt/program/requirements-rendezvous.txt
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps \
    --extra-index-url https://download.pytorch.org/whl/cpu -r /opt/program/requirements-rendezvous.txt

COPY __init__.py rendezvous.py /opt/program/training/
COPY common/__init__.py common/arguments.py common/failure.py /opt/program/training/common/

RUN python -m compileall -q /opt/program && python -c "import training.rendezvous"

# What runs is told by the task definition.
ENTRYPOINT ["python", "-m"]
