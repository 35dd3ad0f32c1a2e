"""Every refusal of the model store, each with a class of its own.

    ModelError
    ├── UnfitBundle         a bundle that must not be saved
    ├── StoreFailure        the store could not be written, or is locked by another process
    ├── ManifestError       the manifest or the policy cannot be read
    │   └── ManifestEdited  its content is not what the verbs wrote
    ├── UnknownModel        no such instrument, model name, version or production pointer
    ├── BundleRefused       a bundle that must not be used
    │   ├── BundleMissing      the file is not there
    │   ├── LfsPointer         the file is a Git LFS pointer, not the bundle
    │   ├── TruncatedBundle    the file is shorter or longer than what was registered
    │   ├── HashMismatch       the file is not the one that was registered
    │   ├── ForeignPickle      the file is no bundle, or holds what a bundle may not hold
    │   ├── NewerSchema        the file was written by a newer Lockstep
    │   ├── WrongSymbol        the bundle is for another instrument
    │   ├── LibraryMismatch    the pipeline was fitted with other libraries
    │   ├── FeaturesChanged    a feature has other values than the model was trained on
    │   └── GoldenMismatch     golden vectors do not come out as recorded
    └── VerbRefused         a promotion, rollback or retirement that the rules do not allow
        └── EvidenceMissing    the policy asks for evidence that is not there

A message names the file or version, what was found and what was expected, and what to do next.
"""

from __future__ import annotations

from lockstep.errors import ModelError


class UnfitBundle(ModelError):
    """A bundle that must not be saved."""


class StoreFailure(ModelError):
    """The store could not be written, or is locked by another process."""


class ManifestError(ModelError):
    """The manifest or the policy cannot be read."""


class ManifestEdited(ManifestError):
    """The content of the manifest is not what the verbs wrote."""


class UnknownModel(ModelError):
    """No such instrument, model name, version or production pointer."""


class BundleRefused(ModelError):
    """A bundle that must not be used."""


class BundleMissing(BundleRefused):
    """The file is not there."""


class LfsPointer(BundleRefused):
    """The file is a Git LFS pointer, not the bundle."""


class TruncatedBundle(BundleRefused):
    """The file is shorter or longer than what was registered."""


class HashMismatch(BundleRefused):
    """The file is not the one that was registered."""


class ForeignPickle(BundleRefused):
    """The file is no bundle, or holds what a bundle may not hold."""


class NewerSchema(BundleRefused):
    """The file was written by a newer Lockstep."""


class WrongSymbol(BundleRefused):
    """The bundle is for another instrument."""


class LibraryMismatch(BundleRefused):
    """The pipeline was fitted with other libraries."""


class FeaturesChanged(BundleRefused):
    """A feature has other values than the model was trained on."""


class GoldenMismatch(BundleRefused):
    """Golden vectors do not come out as recorded."""


class VerbRefused(ModelError):
    """A promotion, rollback or retirement that the rules do not allow."""


class EvidenceMissing(VerbRefused):
    """The policy asks for evidence that is not there."""
