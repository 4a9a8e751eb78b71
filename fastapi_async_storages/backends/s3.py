"""A storage in a bucket of Amazon S3, or of a server that speaks its protocol."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

from fastapi_async_storages.exceptions import (
    ConfigurationError,
    MissingDependencyError,
    StorageError,
)

try:
    import aiobotocore as _aiobotocore  # noqa: F401
except ModuleNotFoundError:
    raise MissingDependencyError(
        "S3Storage needs the extra 's3': pip install 'fastapi-async-storages[s3]'"
    ) from None

from fastapi_async_storages.backends._s3_bucket import to_key
from fastapi_async_storages.backends._s3_config import (
    AddressingStyle,
    ChecksumMode,
    S3Config,
    normalize_url,
)
from fastapi_async_storages.backends._s3_connection import Connection, Engine
from fastapi_async_storages.backends._s3_objects import ObjectAttributes
from fastapi_async_storages.backends._s3_parts import (
    DEFAULT_PART_SIZE,
    MAX_PART_SIZE,
    MIN_PART_SIZE,
    PartReader,
)
from fastapi_async_storages.backends._s3_urls import join_url
from fastapi_async_storages.checksums import to_sha256
from fastapi_async_storages.dispositions import Disposition
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.keys import normalize_prefix
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.presigned import PresignedUploads
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.readers import FileReader
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.streams import ByteStream

if TYPE_CHECKING:
    from botocore.config import Config

    from fastapi_async_storages.backends._s3_cloudfront import CloudFrontUrls

__all__ = ["S3Storage"]

DEFAULT_MAX_CONCURRENCY = 4
"""Parts in flight of one upload: with the default part size, 32 MiB of memory."""


class S3Storage(Storage):
    """Files in a bucket of Amazon S3 or an S3-compatible server.

    One client with its pool of connections serves all calls of an event loop. It is opened by
    ``async with``, or by the first call, and closed with the storage or the loop.

    Args:
        bucket_name: Name of the bucket; it must exist.
        endpoint_url: Where an S3-compatible server is, with or without a scheme:
            ``"localhost:9000"``, ``"https://s3.example.com"``. AWS when not given.
        aws_access_key_id: With ``aws_secret_access_key``. When not given, the SDK looks for
            credentials where AWS tools do: environment, ``~/.aws``, SSO, container, instance; it
            fetches temporary ones again before they expire.
        aws_secret_access_key: See ``aws_access_key_id``.
        aws_session_token: Belongs to temporary credentials.
        region_name: Region of the bucket. When not given, from the environment or ``~/.aws``; for
            S3-compatible servers then ``us-east-1``.
        use_ssl: Scheme of ``endpoint_url``, ``public_endpoint_url`` and ``custom_domain`` where
            they have none.
        default_acl: Canned ACL of what is stored, such as ``"public-read"``.
        custom_domain: Host of a CDN that serves the bucket; :meth:`get_path` returns its URLs,
            unsigned unless the next two are given.
        cloudfront_key_id: ID of a public key in a key group that the CloudFront distribution of
            ``custom_domain`` trusts: URLs are signed, and expire. For a file name and a
            disposition the distribution must hand ``response-content-disposition`` of the query on
            to S3 and sign its own requests (origin access control). Needs the extra
            ``cloudfront``.
        cloudfront_private_key: The private key to it in PEM, RSA or ECDSA (P-256).
        querystring_auth: ``False`` for plain URLs of a bucket that everyone may read, instead of
            presigned ones.
        public_endpoint_url: Where the users' browsers reach the server, if not at
            ``endpoint_url``. A signature covers the host, so URLs must be signed for this one.
        prefix: Folder-like prefix of all names: the storage sees only what is under it.
        addressing_style: ``"path"`` puts the bucket in the path of a URL, ``"virtual"`` in front
            of the host; ``"auto"`` is ``"path"`` for ``endpoint_url`` (which needs no wildcard DNS
            name) and ``"virtual"`` for AWS.
        checksum_mode: When the SDK adds a CRC to what is sent: ``"when_supported"``, as AWS wants
            it, or ``"when_required"``, which more servers understand. When not given, by the
            endpoint. Without TLS, and in this second mode with it too, the signature covers the
            SHA-256 of each request: a server that compares it refuses a wrong byte without a CRC
            (AWS does; SeaweedFS does not). ``open(verify=True)`` finds it on any server.
        client_config: Further options of the SDK, an ``AioConfig`` or a mapping of its arguments;
            ``{"read_timeout": 10, "max_pool_connections": 50}``. By default 5 seconds to connect,
            60 seconds of silence, 3 attempts, 100 connections.
        part_size: Bytes of one part of an upload, 5 MiB to 5 GiB. A file that fits in one part is
            sent in one request.
        max_concurrency: Parts of one upload that are sent at a time. One upload holds up to
            ``part_size * max_concurrency`` bytes in memory.
        engine: ``"obstore"`` moves small uploads, reads and deletes through obstore, which takes a
            quarter of the CPU time, and needs the extra ``fast``; everything else stays with
            ``"aiobotocore"``. The documentation tells them apart.

    Listings come in the order of the server: AWS and most others order by the bytes of the UTF-8
    names; SeaweedFS folder by folder, so that ``a/b`` comes before ``a b``. Objects whose keys are
    no safe names, such as the markers of folders (``a/``), are left out.

    ``overwrite=False`` is a conditional write (``If-None-Match: *``), atomic as far as the server
    makes it so: AWS, MinIO, R2 and Ceph do; SeaweedFS does for files that fit in one part, while
    of several larger uploads at the same instant more than one may win there.

    An upload that fails or is cancelled ends its multipart upload. One whose process is killed
    cannot: have a lifecycle rule of the bucket do it (``AbortIncompleteMultipartUpload``).

    The credentials need ``s3:GetObject``, ``s3:PutObject``, ``s3:DeleteObject``,
    ``s3:AbortMultipartUpload`` and ``s3:ListBucket``. Without the last one, S3 answers "not
    allowed" where it means "no such file", and so does the storage.

    Raises:
        ConfigurationError: When the arguments cannot work together.
        MissingDependencyError: When the extra is missing that an argument needs.
    """

    def __init__(
        self,
        bucket_name: str,
        *,
        endpoint_url: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
        region_name: str | None = None,
        use_ssl: bool = True,
        default_acl: str | None = None,
        custom_domain: str | None = None,
        cloudfront_key_id: str | None = None,
        cloudfront_private_key: str | bytes | None = None,
        querystring_auth: bool = True,
        public_endpoint_url: str | None = None,
        prefix: str = "",
        addressing_style: AddressingStyle = "auto",
        checksum_mode: ChecksumMode | None = None,
        client_config: "Config | Mapping[str, Any] | None" = None,
        part_size: int = DEFAULT_PART_SIZE,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        engine: Engine = "aiobotocore",
    ) -> None:
        def to_url(option: str, url: str | None) -> str | None:
            return normalize_url(url, use_ssl=use_ssl, option=option) if url else None

        self._bucket_name = bucket_name
        self._prefix = normalize_prefix(prefix)
        self._default_acl = default_acl
        self._cdn_url = to_url("custom_domain", custom_domain)
        self._public_endpoint_url = to_url("public_endpoint_url", public_endpoint_url)
        self._querystring_auth = querystring_auth
        self._part_size = part_size
        self._max_concurrency = max_concurrency
        self._engine = engine
        self._cloudfront = _open_cloudfront(
            self._cdn_url, cloudfront_key_id, cloudfront_private_key
        )
        self._config = S3Config(
            endpoint_url=to_url("endpoint_url", endpoint_url),
            access_key_id=aws_access_key_id,
            secret_access_key=aws_secret_access_key,
            session_token=aws_session_token,
            region_name=region_name,
            addressing_style=addressing_style,
            checksum_mode=checksum_mode,
            client_config=client_config,
        )
        self._check_arguments()
        super().__init__()

    def __repr__(self) -> str:
        """Name the storage by its bucket and prefix."""
        prefix = f", prefix={self._prefix!r}" if self._prefix else ""
        return f"S3Storage({self._bucket_name!r}{prefix})"

    @property
    def presigns(self) -> bool:
        """Whether :meth:`get_path` returns URLs that are signed, by S3 or for CloudFront."""
        if self._cdn_url is not None:
            return self._cloudfront is not None
        return self._querystring_auth

    async def presigned_uploads(self) -> PresignedUploads:
        """Return the uploads that browsers send to the bucket themselves.

        ``create_uploads_router`` is what most apps need of them.
        """
        return (await self._connect()).uploads

    async def allow_browser_uploads(self, origins: Iterable[str]) -> None:
        """Let pages of some origins upload to the bucket: add a rule to its CORS configuration.

        To be called once, by who sets the bucket up, since it needs the permissions
        ``s3:GetBucketCORS`` and ``s3:PutBucketCORS``. Another call replaces the rule; the other
        rules of the bucket stay as they are. Servers without this operation have a setting or a
        console for it: allow ``POST`` and ``PUT`` with all headers.

        Args:
            origins: Scheme, host and port of the pages, such as ``"https://www.example.com"``;
                ``"*"`` is all of them.

        Raises:
            ConfigurationError: When one is no origin.
            StorageError: When the bucket's configuration cannot be read or written.
        """
        await (await self._connect()).uploads.allow_origins(origins)

    async def abort_stale_uploads(self, prefix: str = "", *, older_than: timedelta) -> int:
        """Throw away the parts of uploads that nobody has finished, which the bucket bills.

        Uploads that this storage makes clean up after themselves, unless their process is killed;
        browsers do not. A lifecycle rule of the bucket does the same, and is better where there is
        one (``AbortIncompleteMultipartUpload`` with ``DaysAfterInitiation``). MinIO lists no open
        uploads by prefix, and frees them by itself after a day.

        Args:
            prefix: Folder-like prefix of the names; all names of the storage when not given.
            older_than: How long ago they were begun, at least; longer than any upload takes.

        Returns:
            How many there were.
        """
        uploads = (await self._connect()).uploads
        return await uploads.abort_stale(normalize_prefix(prefix), older_than=older_than)

    def _check_arguments(self) -> None:
        if not self._bucket_name:
            raise ConfigurationError("S3Storage needs a bucket_name.")
        if not MIN_PART_SIZE <= self._part_size <= MAX_PART_SIZE:
            raise ConfigurationError(
                f"part_size must be {MIN_PART_SIZE} to {MAX_PART_SIZE} bytes (5 MiB to 5 GiB), not"
                f" {self._part_size}."
            )
        keys = (self._config.access_key_id, self._config.secret_access_key)
        if (None in keys) if self._config.session_token else (keys.count(None) == 1):
            raise ConfigurationError(
                "aws_access_key_id and aws_secret_access_key go together, and aws_session_token"
                " needs both."
            )
        if self._max_concurrency < 1:
            raise ConfigurationError(
                f"max_concurrency must be at least 1, not {self._max_concurrency}."
            )
        mode = self._config.checksum_mode
        if mode is not None and mode not in get_args(ChecksumMode):
            raise ConfigurationError(
                f"checksum_mode must be one of {get_args(ChecksumMode)}, not {mode!r}."
            )
        if self._engine not in get_args(Engine):
            raise ConfigurationError(
                f"engine must be one of {get_args(Engine)}, not {self._engine!r}."
            )
        # Finds unknown options now, and not with the first request.
        sdk_config = self._config.to_sdk_config()
        if self._engine == "obstore":
            # Loaded here because it needs an extra of its own.
            from fastapi_async_storages.backends._s3_obstore_store import (  # noqa: PLC0415
                check_options,
            )

            check_options(sdk_config, acl=self._default_acl)

    def _open_client(self) -> Connection:
        return Connection(
            self._config,
            bucket_name=self._bucket_name,
            prefix=self._prefix,
            storage=repr(self),
            url_endpoint=self._public_endpoint_url,
            signed_urls=self._querystring_auth,
            acl=self._default_acl,
            part_size=self._part_size,
            max_concurrency=self._max_concurrency,
            engine=self._engine,
        )

    async def _connect(self) -> Connection:
        connection: Connection = await self._clients.get()
        return connection

    async def _upload(
        self,
        name: str,
        stream: ByteStream,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        cache_control: str | None,
        overwrite: bool,
    ) -> None:
        engine = (await self._connect()).engine
        attributes = ObjectAttributes(content_type, metadata, cache_control, self._default_acl)
        parts = PartReader(stream, self._part_size, storage=repr(self), name=name)
        await parts.peek()
        if parts.ended:
            body = await parts.read()
            if stream.checksum is not None:
                body.sha256 = to_sha256(stream.checksum)
            await engine.put(name, body, attributes, overwrite=overwrite)
        else:
            await engine.put_parts(name, parts, attributes, overwrite=overwrite)

    @asynccontextmanager
    async def _open(
        self, name: str, byte_range: ByteRange | None, preconditions: Preconditions
    ) -> AsyncIterator[FileReader]:
        engine = (await self._connect()).engine
        async with engine.get(name, byte_range, preconditions) as reader:
            yield reader

    async def _get_info(self, name: str) -> FileInfo:
        return await (await self._connect()).engine.head(name)

    async def _list(self, prefix: str) -> AsyncIterator[FileInfo]:
        engine = (await self._connect()).engine
        async for info in engine.list(prefix):
            yield info

    async def _copy(
        self, source: str, target: str, *, overwrite: bool, if_match: str | None
    ) -> None:
        engine = (await self._connect()).engine
        await engine.copy(
            source, target, overwrite=overwrite, if_match=if_match, acl=self._default_acl
        )

    async def _delete(self, name: str) -> None:
        await (await self._connect()).engine.delete(name)

    async def _delete_many(self, names: Sequence[str]) -> dict[str, StorageError]:
        return await (await self._connect()).engine.delete_many(names)

    async def _get_path(
        self, name: str, *, expires_in: int, filename: str | None, disposition: Disposition | None
    ) -> str:
        if self._cdn_url is None and self._querystring_auth:
            return await (await self._connect()).urls.get(
                name, expires_in=expires_in, filename=filename, disposition=disposition
            )
        if self._cloudfront is not None:
            return self._cloudfront.get(
                to_key(self._prefix, name, storage=repr(self)),
                expires_in=expires_in,
                filename=filename,
                disposition=disposition,
            )
        if filename is not None or disposition is not None:
            # Only a signed request may say which headers the answer has. Left out in silence, a
            # page that was meant to be downloaded would be shown, and run its script.
            raise ConfigurationError(
                f"The URLs of {self!r} are not signed, so they cannot carry a filename or a"
                " disposition; leave both out, or use presigned URLs.",
                storage=repr(self),
                name=name,
            )
        if self._cdn_url is not None:
            return join_url(f"{self._cdn_url}/", to_key(self._prefix, name, storage=repr(self)))
        return await (await self._connect()).urls.get(name, expires_in=expires_in)

    async def _check(self) -> None:
        await (await self._connect()).engine.check()


def _open_cloudfront(
    cdn_url: str | None, key_id: str | None, private_key: str | bytes | None
) -> "CloudFrontUrls | None":
    if not key_id and not private_key:
        return None
    if not (key_id and private_key and cdn_url):
        raise ConfigurationError(
            "cloudfront_key_id and cloudfront_private_key go together, and need custom_domain."
        )
    # Loaded here because it needs an extra of its own.
    from fastapi_async_storages.backends._s3_cloudfront import CloudFrontUrls  # noqa: PLC0415

    return CloudFrontUrls(f"{cdn_url}/", key_id=key_id, private_key=private_key)
