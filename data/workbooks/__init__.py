"""Workbooks to records: .xlsx and .ods, read by expat within bounds."""
