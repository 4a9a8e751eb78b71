"""What OpenAPI shows of the dependencies that refuse requests."""

__all__ = ["Refusals"]


class Refusals:
    """A dependency that refuses nothing itself, and tells the schema what those around it refuse.

    Args:
        statuses: HTTP status codes of their problems.

    Attributes:
        statuses: The same.
    """

    def __init__(self, statuses: tuple[int, ...]) -> None:
        self.statuses = statuses

    async def __call__(self) -> None:
        """Let FastAPI call this."""
