"""A lock, so that one thread at a time imports transformers and what is built on it.

While it is imported, transformers puts another module in its own place in `sys.modules`. Another thread that came meanwhile has
looked the name up before it waits (CPython's `PyImport_ImportModuleLevelObject`), goes on with the old module, and fails with
"cannot import name 'AutoTokenizer'"; peft, which imports transformers, fails likewise.
"""

import threading

import_lock = threading.RLock()
