# The image of the multi-model endpoint: serves every model that the other images train, and trains none.
# Built from this folder, from the same server as they are. Of its own, since an endpoint on CPUs needs PyTorch
# without CUDA, which is three quarters of the image for training on images, and jobs on tables need no PyTorch.
# By digest (of the index of all platforms): a tag is moved to a new build without notice.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

# Multi-model hosting, and a server port chosen by SageMaker.
LABEL com.amazonaws.sagemaker.capabilities.multi-models="true" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"

# Passive: threads of OpenMP that spin while they wait take the CPUs from other threads, and XGBoost, LightGBM and
# PyTorch each bring a team of their own. The server's metrics: on the container's own loopback address only.
ENV PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=passive \
    SERVING_METRICS_PORT=9464 \
    PYTHONPATH=/opt/program \
    PATH=/opt/program:$PATH

WORKDIR /opt/program

# LightGBM's wheel brings no OpenMP runtime of its own, as the other wheels do.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*

# PyTorch's own index has it without CUDA; its versions end in +cpu, which a pin without it takes, and before others.
COPY requirements-serving.txt /opt/program/requirements-serving.txt
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps \
    --extra-index-url https://download.pytorch.org/whl/cpu -r /opt/program/requirements-serving.txt

COPY __init__.py /opt/program/training/__init__.py
COPY common /opt/program/training/common
COPY container /opt/program/training/container
COPY serving /opt/program/training/serving

RUN python -m compileall -q /opt/program && \
    python -c "import lightgbm, xgboost, training.container.launch, training.serving.server, training.serving.images"

EXPOSE 8080

# No USER: SageMaker mounts /opt/ml for root, and puts the models there.
ENTRYPOINT ["python", "-m", "training.container"]
