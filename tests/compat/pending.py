"""Lines of docs/chatapi-compat.md whose tests are written and whose feature is still being built: line → what is missing.

The one place for this. A line that is listed here runs all the same: it is printed as pending while it fails, and it fails
the run as soon as it holds, so that it must leave the list. An empty list is the normal state.
"""

PENDING = {}
