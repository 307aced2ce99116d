"""Made rows on the page: from documents, rows or topics and a teacher to rows that a person has looked at."""
