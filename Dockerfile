# The command line, with the proxy: docker build -t redis-wanpool .
#   docker run --network host --read-only -e WANPOOL_URL=redis://:PASSWORD@10.0.0.2:6379/0 redis-wanpool proxy
# Leased ports are the host's: without --network host, what connects is the container's own network, behind another NAT.
FROM python:3.13-slim AS build
COPY . /src
RUN pip wheel --no-cache-dir --wheel-dir /wheels "/src[proxy]"

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index --find-links /wheels "redis-wanpool[proxy]" \
 && useradd --system --uid 10001 --no-create-home wanpool
USER 10001
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
# 0 while Redis answers, and the WANs can be read.
HEALTHCHECK --interval=30s --timeout=10s CMD ["wanpool", "status", "--json"]
ENTRYPOINT ["wanpool"]
CMD ["help"]
