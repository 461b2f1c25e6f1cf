"""Fitting a model to somebody's own pictures of hands, without labels (`auxhand adapt`)."""
