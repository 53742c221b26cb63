# caffe-losses in an image that has Caffe: the public one for GPUs, or the one that BASE_IMAGE names.
ARG BASE_IMAGE=bvlc/caffe:gpu

FROM debian:12.11-slim AS data
RUN apt-get update \
    && apt-get install -y --no-install-recommends dataset-fashion-mnist=0.0~git20200523.55506a9-1 \
    && rm -rf /var/lib/apt/lists/*

# hadolint ignore=DL3006
FROM ${BASE_IMAGE}
COPY --from=data /usr/share/datasets/fashion-mnist /usr/share/datasets/fashion-mnist
WORKDIR /opt/caffe-losses
COPY tools/environment/image_* tools/environment/caffe_py27.txt tools/environment/
# Into /opt/caffe-losses-packages.
RUN for python in python python3; do \
        if "$python" -c 'from caffe import Net'; then \
            exec "$python" tools/environment/image_packages.py "$PWD-packages"; \
        fi; \
    done; \
    echo 'neither python nor python3 of the base image imports caffe' >&2; exit 1
COPY . .
# The user that `docker run -u` names has neither a name nor a home: what tests and examples write is open to all.
RUN chmod -R a+rX . && install -d -m 1777 . examples/*/ \
        examples/fashion_mnist/output examples/long_tail/output examples/triplets/output examples/study/output
ENV PATH=${PATH}:/opt/caffe-losses/tools \
    PYTHONPATH=${PYTHONPATH:+${PYTHONPATH}:}/opt/caffe-losses/layers:/opt/caffe-losses/prototxt:/opt/caffe-losses/tools:/opt/caffe-losses-packages \
    MPLBACKEND=Agg \
    MPLCONFIGDIR=/tmp/matplotlib
CMD ["make", "help"]
