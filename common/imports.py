"""transformers, and what is built on it, is imported by one thread at a time.

While it is imported, transformers puts another module in its own place in `sys.modules`. Another thread that came meanwhile has
looked the name up before it waits (CPython's `PyImport_ImportModuleLevelObject`), goes on with the old module, and fails with
"cannot import name 'AutoTokenizer'"; peft, which imports transformers, fails likewise.
"""

import threading

import_lock = threading.RLock()
