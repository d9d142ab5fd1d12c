"""One file a page. They compute nothing: they ask `records` and hand the results to `components`."""
