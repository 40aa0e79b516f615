"""The rows that pass between stages, files and the library."""

from pydantic import BaseModel, ConfigDict


class Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class Document(Row):
    """One text of a corpus. `id` is a hash of source and text; `source` the file it came from, relative to what was imported."""

    id: str
    text: str
    source: str = ""


class Message(Row):
    """One turn of a conversation. `role` is system, user, assistant or tool."""

    role: str
    content: str
