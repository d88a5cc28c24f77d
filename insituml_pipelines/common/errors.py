"""The one error that a user's mistake raises."""


class UserError(Exception):
    """Something the user can mend: printed as one line, without a traceback.

    Parameters
    ----------
    message
        The line.
    code
        What the command exits with.
    """

    code = 2

    def __init__(self, message: str, code: int = code) -> None:
        super().__init__(message)
        self.code = code
