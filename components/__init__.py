"""What the pages are made of. Imports `records` and `pipeline`, never `pages`."""
