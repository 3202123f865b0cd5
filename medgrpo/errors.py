"""The exceptions that speak to the user: shown without a traceback."""


class UserError(Exception):
    """A mistake in the user's input (exit code 2).

    The message names the key or row, what was wrong and what to do about it.
    """


class RunStopped(Exception):
    """A limit that the user set was reached (exit code 1).

    The message names the limit and how to resume.
    """
