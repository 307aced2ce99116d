"""The process that reads documents, with small limits."""

import sys

from data.documents import pdf, process, word

process.MAX_SECONDS = 0  # and the one that has begun
process.MAX_CHARACTERS = 2_000_000
pdf.MAX_PAGES = 3
word.MAX_UNPACKED_BYTES = 2_000_000
sys.exit(process.main(sys.argv[1:]))
