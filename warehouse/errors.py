"""The one error type that people see."""


class UserError(Exception):
    """Something only a person can put right.

    Args:
        message: What is wrong, in one sentence.
        remedy: What to do about it: a command or a setting.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy
