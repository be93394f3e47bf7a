"""One file per runner: each library's own road from a Parquet file to a trained model and its scores."""
