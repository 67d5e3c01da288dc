"""Beyond one machine: pictures anywhere -> vectors in Parquet, by Ray; and from Parquet into a store."""

from babelclip.extras import require

require("scale", "fsspec", "pyarrow")
