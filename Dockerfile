# syntax=docker/dockerfile:1
# Two images from the pins of requirements*.txt: `server`, MLflow's for compose.yaml, and
# `training`, every entry point. For a GPU: --build-arg REQUIREMENTS=requirements.txt
FROM python:3.11-slim-bookworm AS base
ENV GIT_PYTHON_REFRESH=quiet PATH=/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN useradd --uid 10001 --create-home trackml \
    && install --directory --owner trackml /artifacts /data /runs

FROM base AS uv
WORKDIR /pins
COPY requirements.txt requirements-cpu.txt requirements-dev.txt ./
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN python -m venv /venv \
    && grep '^uv==' requirements-dev.txt | python -m pip install --requirement /dev/stdin --target /uv
ENV PYTHONPATH=/uv UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1

FROM uv AS server-packages
RUN python -m uv pip install --python /venv/bin/python --constraint requirements.txt \
    --constraint requirements-dev.txt mlflow 'psycopg[binary]'

FROM uv AS training-packages
ARG REQUIREMENTS=requirements-cpu.txt
RUN python -m uv pip install --python /venv/bin/python --no-deps --requirement "$REQUIREMENTS"

FROM uv AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY pipelines pipelines
RUN python -m pip wheel --no-deps --wheel-dir /wheel .

FROM base AS server
COPY --from=server-packages /venv /venv
USER 10001
WORKDIR /home/trackml
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
CMD ["mlflow", "server"]

FROM base AS training
COPY --from=training-packages /venv /venv
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    python -m pip install --no-deps /wheel/*.whl
USER 10001
WORKDIR /home/trackml
ENV TRACKML_DATA_DIR=/data TRACKML_RUNS_DIR=/runs
# The program answers nothing over the network: it lives or it has ended.
HEALTHCHECK NONE
ENTRYPOINT ["trackml"]
CMD ["run"]
