"""Ask the shared backbone whether it serves us. Drivers are imported on first use: few requests need them."""

import os
from collections.abc import Callable

CONNECT_LIMIT_S = 1
POSTGRES_CONNECT_LIMIT_S = 2    # libpq takes anything less for two seconds
ANSWER_LIMIT_S = 1


def ping_redis() -> None:
    import redis

    client = redis.Redis.from_url(
        os.environ["REDIS_URL"], socket_connect_timeout=CONNECT_LIMIT_S, socket_timeout=ANSWER_LIMIT_S
    )
    try:
        client.ping()
    finally:
        client.close()


def select_from_postgres() -> None:
    import psycopg2

    connection = psycopg2.connect(
        os.environ["DATABASE_URL"],
        connect_timeout=POSTGRES_CONNECT_LIMIT_S,
        options=f"-c statement_timeout={ANSWER_LIMIT_S * 1000}",
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    finally:
        connection.close()


CHECKS = {"redis": ping_redis, "postgres": select_from_postgres}


def check(checks: dict[str, Callable[[], None]]) -> dict[str, str]:
    """Name -> `ok` or what kind of error it was. Kinds only: a driver's message may hold the URL and its password."""
    from concurrent.futures import ThreadPoolExecutor

    def outcome(probe: Callable[[], None]) -> str:
        try:
            probe()
        except Exception as error:  # each driver has a family of its own, and all of them mean "not ready"
            return type(error).__name__
        return "ok"

    with ThreadPoolExecutor(len(checks)) as pool:
        return dict(zip(checks, pool.map(outcome, checks.values()), strict=True))
