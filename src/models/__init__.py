"""Models: immutable bundles, the manifest that tracks them, and the verbs that move them."""
