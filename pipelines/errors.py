"""The one error that a user's mistake raises."""


class UserError(Exception):
    """Something the user can mend: printed as one line, without a traceback."""
