# One image for every role: marketplace, coordinator, node, authority's command. What a container does is its command.
FROM python:3.11-slim-bookworm AS build
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/shuyan SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
RUN pip install --no-cache-dir uv==0.12.24
WORKDIR /src
COPY pyproject.toml uv.lock ./
COPY protos/pyproject.toml protos/
COPY sdk/pyproject.toml sdk/
COPY node_agent/pyproject.toml node_agent/
COPY marketplace/pyproject.toml marketplace/
# Third-party packages in a layer of their own: they change far less often than our code.
RUN uv sync --frozen --no-dev --no-install-workspace --compile-bytecode --no-cache
COPY protos protos
COPY sdk sdk
COPY node_agent node_agent
COPY marketplace marketplace
RUN uv sync --frozen --no-dev --no-editable --compile-bytecode --no-cache

FROM python:3.11-slim-bookworm
ENV PATH=/opt/shuyan/bin:$PATH PYTHONPATH=/opt/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
# Reports are set in Chinese: any font of marketplace.products.reports.CHINESE_FONTS will do, this one has 2 MB.
RUN apt-get update && apt-get install -y --no-install-recommends fonts-droid-fallback && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 shuyan && useradd --uid 10001 --gid shuyan --no-create-home --home-dir /data --shell /usr/sbin/nologin shuyan \
 && install -d -o shuyan -g shuyan -m 0750 /data /authority /authority-public /secrets /enrolment-1 /enrolment-2 /enrolment-3
COPY --from=build /opt/shuyan /opt/shuyan
COPY demo /opt/app/demo
COPY docker /opt/app/docker
WORKDIR /opt/app
USER shuyan
VOLUME ["/data"]
CMD ["shuyan-market", "serve"]
