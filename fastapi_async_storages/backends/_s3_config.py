"""What an S3 storage was configured with, checked, and the SDK's clients made of it."""

import base64
import functools
import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import anyio.to_thread
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore import UNSIGNED, handlers
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.loaders import Loader

from fastapi_async_storages.backends._s3_credentials import Session
from fastapi_async_storages.backends._s3_signing import use_kept_hashes
from fastapi_async_storages.exceptions import ConfigurationError

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

__all__ = [
    "AddressingStyle",
    "ChecksumMode",
    "S3Config",
    "normalize_url",
    "open_client",
    "open_session",
]

AddressingStyle: TypeAlias = Literal["auto", "path", "virtual"]
"""Where the bucket stands in a URL: in the path, or in front of the host.

Source: Amazon S3 User Guide, "Virtual hosting of general purpose buckets".
"""

ChecksumMode: TypeAlias = Literal["when_supported", "when_required"]
"""When the SDK adds and checks checksums on its own.

Source: AWS SDKs and Tools Reference Guide, "Data Integrity Protections for Amazon S3".
"""

DEFAULT_REGION = "us-east-1"
"""Region that S3-compatible servers sign with when they have none of their own.

Source: default of MinIO, SeaweedFS and Ceph; Cloudflare R2 takes it as an alias of ``auto``.
"""


class _BoundedPool(AIOHTTPSession):
    """A pool of connections in which nobody waits for a free one for ever.

    Every open reader holds a connection. Tasks that each hold one and wait for another would
    otherwise wait for each other.
    """

    _timeout: aiohttp.ClientTimeout

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        connect, read = self._timeout.sock_connect, self._timeout.sock_read
        self._timeout = aiohttp.ClientTimeout(
            connect=None if connect is None or read is None else connect + read,
            sock_connect=connect,
            sock_read=read,
        )


_RETRY_MODE = "standard"
"""Exponential backoff with jitter, and a budget that stops the retries of all calls in an outage.

Source: AWS SDKs and Tools Reference Guide, "Retry behavior".
"""

_DISTRIBUTION = "fastapi-async-storages"

# RFC 9110 section 5.6.2.
_NOT_IN_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")

_DEFAULTS: Mapping[str, Any] = {
    # Seconds. A server that does not take a connection in 5 s is down; one that works on a large
    # copy may be silent for long.
    "connect_timeout": 5,
    "read_timeout": 60,
    "retries": {"total_max_attempts": 3},
    # Every open reader holds a connection. botocore's 10 would let 10 slow readers stop an app;
    # this is aiohttp's own default.
    "max_pool_connections": 100,
    "http_session_cls": _BoundedPool,
}


@dataclass(frozen=True, slots=True)
class S3Config:
    """Where a bucket is and how to talk to it.

    Attributes:
        endpoint_url: URL of the server with its scheme; ``None`` is AWS, or what the AWS
            configuration of the environment says.
        access_key_id: With ``secret_access_key``; ``None`` leaves it to the AWS chain.
        secret_access_key: See ``access_key_id``.
        session_token: Of temporary credentials.
        region_name: Region that requests are signed for.
        addressing_style: See :data:`AddressingStyle`.
        checksum_mode: See :data:`ChecksumMode`; ``None`` decides by the endpoint.
        client_config: Further options of the SDK.
    """

    endpoint_url: str | None
    access_key_id: str | None = field(repr=False)
    secret_access_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)
    region_name: str | None
    addressing_style: AddressingStyle
    checksum_mode: ChecksumMode | None
    client_config: Config | Mapping[str, Any] | None = field(repr=False)

    def to_sdk_config(self, *, signed: bool = True) -> AioConfig:
        """Return the options of the SDK: our defaults, then the user's, then what must be.

        Raises:
            ConfigurationError: When the SDK does not know one of the options.
        """
        try:
            given = self.client_config or {}
            options: Any = given if isinstance(given, Config) else AioConfig(**given)
            config: Any = AioConfig(**_DEFAULTS).merge(options)  # The stubs know few attributes.
            required: dict[str, Any] = {
                # The older signature is refused by every region since 2014, and by R2.
                "signature_version": "s3v4" if signed else UNSIGNED,
                "s3": {**(config.s3 or {}), "addressing_style": self.addressing_style},
                # Who sets the number of attempts alone does not ask for another mode.
                "retries": {"mode": _RETRY_MODE, **config.retries},
                **self._checksum_options(),
            }
            merged: AioConfig = config.merge(AioConfig(**required))
        except (TypeError, ValueError, BotoCoreError) as error:
            raise ConfigurationError(f"client_config: {error}") from None
        return merged

    def is_aws(self) -> bool:
        """Tell whether the endpoint is AWS itself, and not one of the servers that are like it."""
        endpoint = self.endpoint_url or _endpoint_of_environment()
        host = urlsplit(endpoint).hostname if endpoint else None
        return host is None or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    def _checksum_options(self) -> dict[str, str]:
        # The SDK's default of 2025 sends a checksum in a trailer with every upload, which many
        # S3-compatible servers refuse or, worse, store as a part of the file.
        mode = self.checksum_mode or (None if self.is_aws() else "when_required")
        if mode is None:
            return {}
        return {"request_checksum_calculation": mode, "response_checksum_validation": mode}


async def open_client(
    config: S3Config,
    session: AioSession,
    opened: AsyncExitStack,
    *,
    endpoint_url: str | None = None,
    signed: bool = True,
) -> "S3Client":
    """Open a client with its pool of connections.

    Args:
        config: Where the bucket is.
        session: Holds the credentials. It serves one event loop: fetching credentials again takes
            an ``asyncio.Lock``.
        opened: Closes the client.
        endpoint_url: Another endpoint than the config's.
        signed: ``False`` for a client whose URLs have no signature.
    """
    region = config.region_name or session.get_config_variable("region")
    if region is None and not config.is_aws():
        region = DEFAULT_REGION
    try:
        client: S3Client = await opened.enter_async_context(
            session.create_client(
                "s3",
                endpoint_url=endpoint_url or config.endpoint_url,
                region_name=region,
                config=_add_user_agent(config.to_sdk_config(signed=signed), session),
            )
        )
    except ValueError as error:  # A host name with an underscore, for one.
        raise ConfigurationError(f"The SDK refuses the endpoint or the region: {error}") from None
    # "Expect: 100-continue" costs a round trip for each upload, and aiohttp waits for ever when a
    # server ignores it, as RFC 9110 section 10.1.1 lets it do.
    client.meta.events.unregister("before-call.s3", handlers.add_expect_header)
    use_kept_hashes(client)
    if not config.is_aws():
        client.meta.events.register("before-sign.s3.DeleteObjects", _add_content_md5)
    return client


def _add_user_agent(sdk_config: Any, session: AioSession) -> AioConfig:
    """Say who sends the requests, unless the user does.

    The SDK composes a text of its own anew for each request, and that twice: a tenth of all that a
    small request costs.
    """
    if sdk_config.user_agent is None:
        # The SDK adds its own name and version.
        agent = [f"{session.user_agent_name}/{session.user_agent_version}"]
        app_id = sdk_config.user_agent_appid or session.get_config_variable("user_agent_appid")
        if app_id:
            agent.append(f"app/{_NOT_IN_TOKEN.sub('-', app_id)}")
        sdk_config = sdk_config.merge(AioConfig(user_agent=" ".join(agent)))
    merged: AioConfig = sdk_config
    return merged


async def open_session(config: S3Config) -> AioSession:
    """Return a session with the credentials, and with the service model of S3 loaded.

    Args:
        config: Where the bucket is.

    Raises:
        NoCredentialsError: When there are no credentials, neither given nor in the environment.
        CredentialRetrievalError: When there are some, but not where the environment says.
    """
    session = await anyio.to_thread.run_sync(_create_session)
    if config.access_key_id is not None and config.secret_access_key is not None:
        session.set_credentials(
            config.access_key_id, config.secret_access_key, config.session_token
        )
    elif await session.get_credentials() is None:
        # Now, since a client would never look again. The next call opens another one.
        raise NoCredentialsError
    return session


def _create_session() -> AioSession:
    session = Session()
    with suppress(metadata.PackageNotFoundError):  # A bundle may have left the metadata out.
        session.user_agent_version = metadata.version(_DISTRIBUTION)
        session.user_agent_name = _DISTRIBUTION
    session.register_component("data_loader", _load_model())
    session.full_config  # noqa: B018 - Reads the files in ~/.aws and keeps what is in them.
    return session


@functools.cache
def _load_model() -> Loader:
    """Parse what every client needs, in about 100 ms; once, since a loader keeps what it loads."""
    loader: Loader = AioSession().get_component("data_loader")
    # In the words in which the SDK asks for them, by which the loader knows them again.
    for type_name in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("s3", type_name, api_version=None)
    version = loader.determine_latest_version("s3", "paginators-1")
    loader.load_service_model("s3", "paginators-1", version)
    for name in ("partitions", "endpoints", "sdk-default-configuration", "_retry"):
        loader.load_data_with_path(name)
    return loader


def normalize_url(url: str, *, use_ssl: bool, option: str) -> str:
    """Return a URL with its scheme and without a ``/`` at its end.

    Args:
        url: With or without a scheme.
        use_ssl: Which scheme to add when there is none.
        option: How errors name the option that the URL is from.

    Raises:
        ConfigurationError: When it is no HTTP URL, or one with credentials or a query.
    """
    with_scheme = url if "://" in url else f"http{'s' if use_ssl else ''}://{url}"
    if not _is_plain(with_scheme):
        # Not with the URL itself: what should not be in it may be a password.
        raise ConfigurationError(
            f"{option} must be a host with an optional port, such as 'localhost:9000' or"
            " 'https://s3.example.com', without credentials and without a query."
        )
    return with_scheme.rstrip("/")


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - A port that is no number raises.
    except ValueError:
        return False
    extras = (parts.username, parts.password, parts.query, parts.fragment)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not any(extras)


def _add_content_md5(request: AWSRequest, **_: object) -> None:
    """Give a DeleteObjects request the header that many S3-compatible servers insist on.

    They answer 400 MissingContentMD5 to the CRC that the SDK has sent instead since 2025: MinIO
    before March 2025, Google, OneFS.
    """
    body: Any = request.body  # The stubs say str; a DeleteObjects has bytes.
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()


def _endpoint_of_environment() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
