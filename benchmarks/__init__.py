"""What is measured, one file per question, each printing a table: `python -m benchmarks.NAME`."""
