"""What the app says in other languages: ko.po is written by people, ko.mo compiled from it."""
