"""Bundles as schema 1 wrote them: the pipeline as a pickle inside a pickle of plain values."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from joblib.numpy_pickle import NumpyPickler

from lockstep.models.bundle import Bundle
from lockstep.models.document import bundle_document
from lockstep.models.libraries import library_versions


def first_bundle(bundle: Bundle) -> bytes:
    """Return the file of a bundle as the first version wrote it, but for the order of equal strings."""
    return first_file(bundle, first_pickle(bundle.pipeline))


def first_file(bundle: Bundle, pipeline: bytes) -> bytes:
    """Return the file of a bundle of schema 1 in which `pipeline` is the pickle of the pipeline."""
    document = bundle_document(bundle, 1, {}, library_versions(bundle.pipeline))
    return first_pickle({**document, "pipeline": pipeline})


def first_pickle(value: Any) -> bytes:
    """Return a pickle in joblib's format, as schema 1 had it."""
    stream = io.BytesIO()
    _FirstPickler(stream, protocol=4).dump(value)
    return stream.getvalue()


class _FirstPickler(NumpyPickler):
    """Leaves records and arrays of objects to the plain pickler."""

    def save(self, value: Any, *_: object) -> None:
        if type(value) is np.ndarray and (value.dtype.hasobject or value.dtype.names):
            super(NumpyPickler, self).save(value)
        else:
            super().save(value)
