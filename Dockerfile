# acclimate on the CPU: runs the demo, or any other verb. The build needs the network; what is run needs none.
#
#   docker build -t acclimate .
#   docker run --rm -v "$PWD/runs:/work/runs" acclimate demo
#   docker run --rm -v "$PWD/runs:/work/runs:ro" -p 127.0.0.1:8000:8000 acclimate serve runs/mine --host 0.0.0.0
#
# Files in mounted folders belong to the user 1000; `--user "$(id -u):$(id -g)"` makes them yours.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src ./src
RUN python -m venv /opt/acclimate \
 && /opt/acclimate/bin/pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
      --constraint constraints.txt ".[dicom,heif,onnx,serve,tiff]"

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="acclimate" \
      org.opencontainers.image.description="Adapt vision-language models to specialised domains from a few labelled images" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/acclimate /opt/acclimate
RUN useradd --create-home --uid 1000 acclimate \
 && install --directory --mode 1777 /work /cache
ENV PATH="/opt/acclimate/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    ACCLIMATE_CACHE=/cache/acclimate \
    HF_HOME=/cache/huggingface \
    MPLCONFIGDIR=/cache/matplotlib
USER acclimate
WORKDIR /work
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["acclimate"]
CMD ["demo"]
