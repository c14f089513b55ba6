# aither-rings in a container: `docker build -t aither-rings .`; compose/docker-compose.ring-shared.yml runs it.
ARG PYTHON_IMAGE=python:3.12-slim
ARG DOCKER_CLI_IMAGE=docker:28-cli
FROM ${DOCKER_CLI_IMAGE} AS docker

FROM ${PYTHON_IMAGE}
# Rollouts run `docker compose`.
COPY --from=docker /usr/local/bin/docker /usr/local/bin/docker
COPY --from=docker /usr/local/libexec/docker/cli-plugins/docker-compose /usr/local/libexec/docker/cli-plugins/docker-compose
COPY pyproject.toml README.md /src/
COPY aither_rings_mcp /src/aither_rings_mcp
RUN pip install --no-cache-dir /src && rm -r /src
ENTRYPOINT ["ring-ctl"]
CMD ["serve"]
