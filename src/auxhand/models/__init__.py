"""Networks."""

from auxhand.imports import without_dynamo

with without_dynamo():
    import torchvision  # noqa: F401
