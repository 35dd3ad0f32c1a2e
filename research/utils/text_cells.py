"""Other programs' CSV files as cells of text: what they mean is the reader's to say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lockstep.errors import DataError

_SEPARATORS = ",;\t|"


def read_cells(path: Path) -> pd.DataFrame:
    """Return the rows below the header as text; the separator is the one that the first line has most of.

    DataError, one line, where the file cannot be read, is not UTF-8, or a row has more cells than the header.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; export it as CSV in UTF-8") from error
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    try:
        return pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
        )
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path}: at most one column: the file is empty; export it again") from error
    except pd.errors.ParserError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: {reason}; every row needs as many cells as the header") from error
