# The image for workers that prepare images: without PyTorch, since they come and go with the work, and are waited for
# while their image is pulled.
# Built from this folder. Its hash is that of what is copied below: it does not change with the trainer.
# By digest (of the index of all platforms): a tag is moved to a new build without notice.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

ENV PYTHONUNBUFFERED=1 \
    PYTHONPATH=/opt/program

WORKDIR /opt/program

COPY requirements-preprocessing.txt /opt/program/requirements-preprocessing.txt
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps -r /opt/program/requirements-preprocessing.txt

COPY __init__.py /opt/program/training/__init__.py
COPY common /opt/program/training/common
COPY preprocessing /opt/program/training/preprocessing
COPY vision/__init__.py vision/classes.py vision/folders.py vision/parallel.py vision/preprocess.py vision/shards.py /opt/program/training/vision/

RUN python -m compileall -q /opt/program && \
    python -c "import training.preprocessing.worker, training.preprocessing.manifest"

# What runs is told by each task: see the entry points of the task definitions.
ENTRYPOINT ["python", "-m"]
