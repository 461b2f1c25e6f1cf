"""Networks."""

from auxhand.imports import without_dynamo

with without_dynamo():
    import timm  # noqa: F401
