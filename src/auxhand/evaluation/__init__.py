"""Evaluation of models on labelled data."""

from auxhand.imports import without_dynamo

with without_dynamo():
    import torchmetrics  # noqa: F401
