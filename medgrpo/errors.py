"""The one exception that means "the user can fix this": shown without a traceback, exit code 2."""


class UserError(Exception):
    """A mistake in the user's input.

    The message names the key or row, what was wrong and what to do about it.
    """
