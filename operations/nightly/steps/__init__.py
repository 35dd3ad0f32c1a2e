"""The steps of a night, one file each; every file has one `STEP`, see `operations/nightly/pipeline.py`."""
