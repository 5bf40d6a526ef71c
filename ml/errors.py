"""The errors of this room. Each message is one sentence for a person, with the remedy in it."""


class MlError(ValueError):
    """Something a person must act on: bad input, an unusable artefact, a server that is away."""


class TrainingError(MlError):
    """The table cannot be learned from: a column is missing, one class is absent, too few periods."""


class TargetsError(MlError):
    """The file of targets cannot be used."""


class ArtifactError(MlError):
    """A stored model cannot be used: altered, of other library versions, or with types not listed."""


class MindsDBError(MlError):
    """MindsDB is away, refuses the login, or answered a statement with an error."""
