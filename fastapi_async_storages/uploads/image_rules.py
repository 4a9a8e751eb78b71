"""What is allowed of an image, by its header: nothing is decoded."""

from collections.abc import Iterable
from typing import TypeAlias

from fastapi_async_storages.exceptions import (
    ConfigurationError,
    ImageAspectError,
    ImageTooLargeError,
    ImageTooSmallError,
    TypeNotAllowedError,
    UnreadableImageError,
)
from fastapi_async_storages.images import DEFAULT_MAX_PIXELS, ImageHeader
from fastapi_async_storages.media_types import guess_media_type
from fastapi_async_storages.uploads.incoming import IncomingFile

__all__ = ["Aspect", "ImageRules"]

Aspect: TypeAlias = float | str
"""Width divided by height: a number, or ``"16:9"``."""

_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "WEBP")

_ASPECT_TOLERANCE = 0.01
"""Part by which a single ``aspect`` may be missed: 854 x 480 pixels are sold as 16:9 (0.08 %)."""


class ImageRules:
    """What an image must be like. An upload that is no image, or no readable one, is refused.

    Width and height are those that are shown, with the EXIF orientation applied.

    Args:
        max_pixels: Most pixels, width times height. What a decoder needs in memory goes by them: a
            file of some KB can promise gigabytes (a decompression bomb).
        min_width: Least width in pixels.
        max_width: Most width in pixels.
        min_height: Least height in pixels.
        max_height: Most height in pixels.
        formats: Formats that are allowed, of AVIF, BMP, GIF, JPEG, PNG and WEBP; all of them when
            not given.
        aspect: Width divided by height, as a number or ``"16:9"`` (one part in a hundred off is
            near enough), or the least and the most as a pair.

    Raises:
        ConfigurationError: When the rules contradict themselves or a format is not known.
    """

    def __init__(
        self,
        *,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        min_width: int = 1,
        max_width: int | None = None,
        min_height: int = 1,
        max_height: int | None = None,
        formats: Iterable[str] | None = None,
        aspect: Aspect | tuple[Aspect, Aspect] | None = None,
    ) -> None:
        self.max_pixels = max_pixels
        self.min_width, self.max_width = min_width, max_width
        self.min_height, self.max_height = min_height, max_height
        self.formats = None if formats is None else frozenset(map(_parse_format, formats))
        self.aspect = None if aspect is None else _parse_aspect(aspect)
        self._check_limits()

    def check(self, file: IncomingFile) -> None:
        """Check an image by its header.

        Args:
            file: The upload, recognized by its first bytes.

        Raises:
            UnreadableImageError: When its header cannot be read.
            TypeNotAllowedError: When its format is not allowed.
            ImageTooLargeError: When it has too many pixels.
            ImageTooSmallError: When it has too few.
            ImageAspectError: When it is too wide or too high for its other side.
        """
        image = file.image
        if image is None:
            raise UnreadableImageError(f"{file.label} is no image that can be read.")
        self._check_format(file.label, image)
        self._check_large(file.label, image)
        self._check_small(file.label, image)
        self._check_aspect(file.label, image)

    def _check_format(self, label: str, image: ImageHeader) -> None:
        image_format = image.media_type.partition("/")[2].upper()
        if self.formats is not None and image_format not in self.formats:
            formats = sorted(self.formats)
            raise TypeNotAllowedError(
                f"{label} is a {image_format} image; allowed: {', '.join(formats)}.",
                limit=formats,
                received=image_format,
            )

    def _check_large(self, label: str, image: ImageHeader) -> None:
        for what, value, limit in (
            ("pixels", image.width * image.height, self.max_pixels),
            ("pixels of width", image.width, self.max_width),
            ("pixels of height", image.height, self.max_height),
        ):
            if limit is not None and value > limit:
                raise ImageTooLargeError(
                    f"{label} has {value} {what} ({image.width} x {image.height}),"
                    f" at most {limit} are allowed.",
                    limit=limit,
                    received=value,
                )

    def _check_small(self, label: str, image: ImageHeader) -> None:
        for what, value, limit in (
            ("width", image.width, self.min_width),
            ("height", image.height, self.min_height),
        ):
            if value < limit:
                raise ImageTooSmallError(
                    f"{label} has {value} pixels of {what}, at least {limit} are needed.",
                    limit=limit,
                    received=value,
                )

    def _check_aspect(self, label: str, image: ImageHeader) -> None:
        if self.aspect is None:
            return
        least, most = self.aspect
        value = image.width / image.height
        if not least <= value <= most:
            raise ImageAspectError(
                f"{label} has {image.width} x {image.height} pixels, {value:.4g} times as wide as"
                f" high; allowed is {least:.4g} to {most:.4g}.",
                limit=[least, most],
                received=value,
            )

    def _check_limits(self) -> None:
        for side, least, most in (
            ("width", self.min_width, self.max_width),
            ("height", self.min_height, self.max_height),
        ):
            if least < 1 or (most is not None and most < least):
                raise ConfigurationError(
                    f"min_{side}={least} and max_{side}={most}: no image can have both."
                )
        if self.max_pixels < self.min_width * self.min_height:
            raise ConfigurationError(
                f"max_pixels={self.max_pixels} is less than min_width x min_height, which is"
                f" {self.min_width * self.min_height}: no image can have both."
            )


def _parse_format(name: str) -> str:
    media_type = guess_media_type(f"x.{name}") or ""
    image_format = media_type.partition("/")[2].upper()
    if image_format not in _FORMATS:
        raise ConfigurationError(
            f"{name!r} is no image format whose header can be read; known: {', '.join(_FORMATS)}."
        )
    return image_format


def _parse_aspect(aspect: Aspect | tuple[Aspect, Aspect]) -> tuple[float, float]:
    if isinstance(aspect, tuple):
        least, most = map(_parse_ratio, aspect)
    else:
        ratio = _parse_ratio(aspect)
        least, most = ratio * (1 - _ASPECT_TOLERANCE), ratio * (1 + _ASPECT_TOLERANCE)
    if least > most:
        raise ConfigurationError(f"aspect={aspect!r}: the least is more than the most.")
    return least, most


def _parse_ratio(aspect: Aspect) -> float:
    try:
        width, colon, height = str(aspect).partition(":")
        ratio = float(width) / float(height) if colon else float(width)
    except (ValueError, ZeroDivisionError):
        ratio = 0
    if not 0 < ratio < float("inf"):
        raise ConfigurationError(
            f"{aspect!r} is no aspect: give width divided by height, as 1.5 or '16:9'."
        )
    return ratio
