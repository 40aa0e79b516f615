"""Settings of a corpus import: which files, which column, how much is kept for validation. No torch."""

from typing import ClassVar

from engine.contract.spec import Problem, Spec, option
from engine.contract.words import tr


class CorpusSpec(Spec):
    stage: ClassVar[str] = "corpus"

    sources: tuple[str, ...] = option((), label=tr("Sources"), hidden=True,
        help=tr("Files and folders: .txt, .md, .jsonl, .csv, .tsv, .parquet."))
    title: str = option("", label=tr("Name"), help=tr("How this corpus is called in the project. Empty: the name of the first source."))
    validation_percent: float = option(10.0, label=tr("For validation"), unit="%", ge=0.1, le=50,
        help=tr("Kept out of training, to measure what the model has understood."))
    text_column: str = option("", label=tr("Text column"), help=tr("The column that holds the text, for tables. Empty: found by its name."),
        advanced=True)
    encoding: str = option("auto", label=tr("Encoding"), help=tr("How the bytes of text files become letters."), advanced=True,
        choices=(("auto", tr("Detect")), ("utf-8", "UTF-8"), ("utf-16", "UTF-16"), ("latin-1", "Latin-1"), ("cp1252", "Windows-1252")))
    split_by: str = option("file", label=tr("One document is"), advanced=True, help=tr("How text files are cut into documents."),
        choices=(("file", tr("a file")), ("blank_lines", tr("text between blank lines")), ("line", tr("a line"))))
    max_document_bytes: int = option(1_000_000, label=tr("Longest document"), unit=tr("bytes"), ge=1_000, le=100_000_000, advanced=True,
        help=tr("Longer texts are cut at a paragraph, so that memory stays bounded."))

    def problems(self) -> list[Problem]:
        if not self.sources:
            return [Problem("sources", tr("There is nothing to import."), tr("Add a file or a folder."))]
        return []
