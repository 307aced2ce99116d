"""Steps, memory, time and cost before the start; arithmetic and one remembered measurement."""
