"""obstore's client for a bucket, made of what the SDK has resolved.

The SDK says where the bucket is and who asks: endpoint, region, addressing style and credentials
mean the same with either engine. What obstore cannot do as configured is refused.
"""

import atexit
import math
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_presigning import SAMPLE_KEY, UrlSigner
from fastapi_async_storages.exceptions import ConfigurationError, MissingDependencyError

try:
    from obstore.exceptions import BaseError
    from obstore.store import S3Store
except ModuleNotFoundError:
    raise MissingDependencyError(
        "engine='obstore' needs the extra 'fast': pip install 'fastapi-async-storages[fast]'"
    ) from None

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Credential

__all__ = ["SharedCredentials", "check_options", "open_store"]

# Of the SDK's options, those that obstore has nothing like, with their defaults.
_UNSUPPORTED = ("client_cert", "connector_args", "proxies_config", "tcp_keepalive")

CREDENTIALS_SECONDS = 60
"""How long credentials are used before the SDK is asked again, and obstore asks here again."""

SAFE_TTL = timedelta(minutes=20)
"""Credentials that expire sooner are asked for at every request: the SDK may be fetching others.

Source: botocore's ``RefreshableCredentials`` try to for the last 15 minutes, and are used until
then.
"""

_MIN_TTL = timedelta(minutes=5)
"""obstore asks for credentials again that expire within this time.

Source: ``TokenCache`` of obstore 0.12.
"""

EXIT_SECONDS = 0.1
"""How long the interpreter waits at its end for obstore's threads to let go of its objects.

Source: measured with obstore 0.12.1: of scripts that end right after a call, one in ten was aborted
(SIGABRT, exit status 134), none that waits 50 ms.
"""

_FOREVER = timedelta(days=365)
"""obstore's limit for a whole request, which would cut long downloads; 30 seconds by default."""


# A thread that wants the lock of an interpreter that is ending is ended by it, which Rust takes for
# a crash.
atexit.register(time.sleep, EXIT_SECONDS)


def check_options(config: AioConfig, *, acl: str | None) -> None:
    """Refuse what obstore would ignore.

    Args:
        config: The options of the SDK.
        acl: Canned ACL of what is stored.

    Raises:
        ConfigurationError: When there is something.
    """
    if acl is not None:
        raise ConfigurationError(
            "engine='obstore' cannot set an ACL: leave default_acl out, or use"
            " engine='aiobotocore'."
        )
    options: Any = config  # The stubs know few attributes.
    defaults = AioConfig()
    refused = [
        f"client_config[{name!r}]"
        for name in _UNSUPPORTED
        if getattr(options, name) != getattr(defaults, name)
    ]
    if options.retries["mode"] == "adaptive":
        refused.append("the retry mode 'adaptive'")
    if refused:
        raise ConfigurationError(
            f"engine='obstore' does not know {', '.join(refused)}; use engine='aiobotocore'."
        )


class SharedCredentials:
    """The SDK's credentials, handed on to obstore.

    obstore could await them itself. But it would do so in a task of its own, which is lost when the
    call that needs them is cancelled, and would hide why there are none.

    Args:
        session: Has them.
    """

    def __init__(self, session: AioSession) -> None:
        self._session = session
        self._kept: S3Credential | None = None
        self._seconds = 0
        self._renew_at = -math.inf

    @property
    def are_due(self) -> bool:
        """Whether to :meth:`renew` them before the next request."""
        return time.monotonic() >= self._renew_at

    async def renew(self) -> None:
        """Ask the SDK, which fetches temporary ones again before they expire."""
        credentials: Any = await self._session.get_credentials()
        frozen = await credentials.get_frozen_credentials()
        expires_at = getattr(credentials, "_expiry_time", None)  # Others never expire.
        is_safe = expires_at is None or expires_at - datetime.now(UTC) > SAFE_TTL
        self._seconds = CREDENTIALS_SECONDS if is_safe else 0
        self._renew_at = time.monotonic() + self._seconds
        self._kept = {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": None,
        }

    def __call__(self) -> "S3Credential":
        """Return them, as obstore asks for them, in a thread of its own."""
        if self._kept is None:
            raise RuntimeError("The credentials were not renewed before the first request.")
        expires_at = datetime.now(UTC) + _MIN_TTL + timedelta(seconds=self._seconds)
        return {**self._kept, "expires_at": expires_at}


async def open_store(
    bucket: Bucket, session: AioSession, credentials: SharedCredentials
) -> S3Store:
    """Return obstore's client for a bucket. Nobody has to close it.

    Args:
        bucket: The bucket, with the SDK's client.
        session: Has the configuration of the environment.
        credentials: What requests are signed with; to be renewed before each.

    Raises:
        ConfigurationError: When only the SDK can sign requests to this kind of bucket.
    """
    with bucket.translate_errors():
        sample = await bucket.client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket.name, "Key": SAMPLE_KEY}, ExpiresIn=1
        )
    place = UrlSigner.from_sample(sample)
    if place is None or place.service != "s3":
        raise ConfigurationError(
            f"engine='obstore' does not know the kind of bucket that {bucket.storage} is in; use"
            " engine='aiobotocore'.",
            storage=bucket.storage,
        )
    sdk_config: Any = bucket.client.meta.config
    bundle = session.get_config_variable("ca_bundle")
    create = partial(
        _create_store,
        _to_store_config(sdk_config, bucket.name, place),
        _to_client_options(sdk_config, place.base_url),
        max_retries=_to_attempts(sdk_config) - 1,
        credentials=credentials,
        ca_bundle=bundle,
    )
    try:
        # The root certificates are parsed, which takes 20 ms.
        return await anyio.to_thread.run_sync(create)
    except (OSError, ValueError, BaseError) as error:
        # Not with its text, which may have the password of a proxy in it.
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    raise ConfigurationError(
        f"{bucket.storage}: obstore refuses the CA bundle (AWS_CA_BUNDLE, ca_bundle) or the"
        f" client_config: {reason}.",
        storage=bucket.storage,
    )


def _create_store(
    config: "S3Config",
    client_options: "ClientConfig",
    *,
    max_retries: int,
    credentials: SharedCredentials,
    ca_bundle: str | None,
) -> S3Store:
    if ca_bundle:
        client_options["root_certificate"] = Path(ca_bundle).read_bytes()
    return S3Store(
        config=config,
        client_options=client_options,
        retry_config={"max_retries": max_retries},
        credential_provider=credentials,
    )


def _to_store_config(sdk_config: Any, bucket_name: str, place: UrlSigner) -> "S3Config":
    config: S3Config = {
        "bucket": bucket_name,
        # With the bucket, as the SDK has put it there: "virtual hosted" means that it is in.
        # By this name, since obstore reads the environment on its own: AWS_ENDPOINT_URL_S3 would
        # take precedence over "endpoint".
        "aws_endpoint_url_s3": place.base_url.rstrip("/"),
        "virtual_hosted_style_request": True,
        "s3_express": False,
        "skip_signature": False,
        "request_payer": False,
        "conditional_put": "etag",
        "region": place.region,
        # Else a single file would be deleted by a request for many, whose answer is 200 even when
        # it was refused.
        "disable_bulk_delete": True,
        "unsigned_payload": (sdk_config.s3 or {}).get("payload_signing_enabled") is False,
    }
    if sdk_config.request_checksum_calculation == "when_supported":
        # The SDK sends a CRC, which obstore cannot; this is the other one that S3 takes. It is that
        # of the signature: nothing is computed twice.
        config["checksum_algorithm"] = "SHA256"
    return config


def _to_client_options(sdk_config: Any, base_url: str) -> "ClientConfig":
    options: ClientConfig = {
        "allow_http": base_url.startswith("http:"),
        "timeout": _FOREVER,
        "pool_max_idle_per_host": str(sdk_config.max_pool_connections),
        "user_agent": sdk_config.user_agent,
    }
    if sdk_config.connect_timeout is not None:
        options["connect_timeout"] = timedelta(seconds=sdk_config.connect_timeout)
    if sdk_config.read_timeout is not None:
        options["read_timeout"] = timedelta(seconds=sdk_config.read_timeout)
    scheme = base_url.partition(":")[0]
    if proxy := (sdk_config.proxies or {}).get(scheme):
        options["proxy_url"] = proxy if "://" in proxy else f"http://{proxy}"
    return options


def _to_attempts(sdk_config: Any) -> int:
    """Return how often a request is sent at most."""
    retries = sdk_config.retries or {}
    if "max_attempts" in retries:
        return int(retries["max_attempts"]) + 1
    return int(retries.get("total_max_attempts", 1))
