"""Reports of a desk: one numbers object, written as a page and as a PDF."""
