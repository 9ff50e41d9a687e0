#!/usr/bin/env python3
"""What ChatAPI documents and Parley does not serve yet: each line demands today's answer, so that its mark goes with it."""
from harness import equal, line, main, parley


# ---- the move of the data


@line("move-import-01", later=True)
def there_is_no_import(s):
    result = parley("import", "chatapi", "chatapi.db")
    equal(result.returncode, 2)


if __name__ == "__main__":
    main()
