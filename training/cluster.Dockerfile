# The image for ECS and for single EC2 hosts: the trainer of models of images, the store in which its hosts meet on
# such a host (a cluster's is in rendezvous.Dockerfile), and the commands that write manifests of datasets. On CPU or
# GPU.
# Built from this folder. Its hash is that of all it runs: a change of the trainer is a new task definition, and
# attempts that run keep theirs.
# By digest (of the index of all platforms): a tag is moved to a new build without notice.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

# Passive: threads of OpenMP that spin while they wait take the CPUs from other containers of the machine. The NVIDIA
# variables tell the machine's container runtime to mount its driver; CUDA's libraries come from pip.
ENV PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=passive \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONPATH=/opt/program

WORKDIR /opt/program

# torch.compile, `compile=1`, builds kernels with it.
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*

COPY requirements-vision.txt /opt/program/requirements-vision.txt
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps -r /opt/program/requirements-vision.txt

# Of jobs that ask for it, in a process of its own. In a folder of its own: timm imports it where it finds it.
COPY requirements-tracking.txt /opt/program/requirements-tracking.txt
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --target /usr/local/tracking \
    -r /opt/program/requirements-tracking.txt

COPY __init__.py rendezvous.py /opt/program/training/
COPY common /opt/program/training/common
COPY reporting /opt/program/training/reporting
COPY vision /opt/program/training/vision
COPY preprocessing /opt/program/training/preprocessing

RUN python -m compileall -q /opt/program && \
    python -c "import training.preprocessing.manifest, training.vision.train"

# What runs is told by each task: see the entry points of the task definitions.
ENTRYPOINT ["python", "-m"]
