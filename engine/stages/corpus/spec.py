"""Settings of a corpus: which files, how they are cleaned, what counts as a duplicate, how sources are mixed, what is kept for validation.
No torch. Every step that removes whole documents is off unless chosen, except duplicates."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from engine.contract.spec import Problem, Spec, option
from engine.contract.words import tr

HARM_KINDS = (("adult", tr("Adult")), ("hate", tr("Hateful")), ("violence", tr("Violent")), ("self_harm", tr("Self-harm")))
ENCODINGS = (("auto", tr("Detect")), ("utf-8", "UTF-8"), ("utf-16", "UTF-16"), ("latin-1", "Latin-1"),
             ("cp1252", "Windows-1252"), ("cp1251", "Windows-1251"), ("cp1250", "Windows-1250"),
             ("iso8859-2", "ISO 8859-2"), ("iso8859-15", "ISO 8859-15"), ("koi8-r", "KOI8-R"),
             ("cp1253", "Windows-1253"), ("cp1254", "Windows-1254"), ("cp1255", "Windows-1255"),
             ("cp1256", "Windows-1256"), ("cp1257", "Windows-1257"), ("cp1258", "Windows-1258"),
             ("iso8859-7", "ISO 8859-7"), ("cp874", "Windows-874"), ("mac-roman", "Mac Roman"), ("cp437", "DOS 437"),
             ("cp850", "DOS 850"), ("utf-16-le", "UTF-16 LE"), ("utf-16-be", "UTF-16 BE"), ("utf-32", "UTF-32"),
             ("gb18030", "GB 18030"), ("big5", "Big5"), ("shift_jis", "Shift JIS"),
             ("euc-jp", "EUC-JP"), ("euc-kr", "EUC-KR"))
"""The codes of files; all names but the first are those of the codes."""
PERSONAL_KINDS = (("email", tr("E-mail addresses")), ("phone", tr("Phone numbers")), ("iban", tr("Bank accounts (IBAN)")),
                  ("card", tr("Card numbers")), ("ip", tr("IP addresses")), ("key", tr("Keys and tokens")))


class SourceOptions(BaseModel):
    """What one source does differently: how it is read, and how much of it goes into the mix. None: as for all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoding: str | None = None
    text_column: str | None = None
    split_by: str | None = None
    weight: float | None = Field(None, gt=0, le=1e6)
    """Its share of the training text, relative to the other weights. None for all sources: everything is taken."""
    epochs: float = Field(1.0, gt=0, le=100)
    """How often its text may be repeated; below 1 a part of it is drawn."""
    cap_mb: float | None = Field(None, gt=0)
    """At most this much of its text (millions of bytes) before repetition."""


class CorpusSpec(Spec):
    stage: ClassVar[str] = "corpus"
    rows: ClassVar[tuple[str, ...]] = ("decisions", "harm_labels")

    # sources
    sources: tuple[str, ...] = option((), label=tr("Sources"), hidden=True, help=tr("Files, folders and archives with text."))
    base: str = option("", label=tr("Start from"), hidden=True, artifact="corpus",
        help=tr("A corpus whose removed and kept documents are gone through again with your decisions, instead of files."))
    source_options: dict[str, SourceOptions] = option({}, label=tr("Options of single sources"), hidden=True,
        help=tr("By path as given: encoding, text_column, split_by, weight, epochs, cap_mb."))
    title: str = option("", label=tr("Name"), help=tr("How this corpus is called in the project. Empty: the name of the first source."),
        group="sources")
    text_column: str = option("", label=tr("Text column"), help=tr("The column that holds the text, for tables. Empty: found by its name."),
        advanced=True, group="sources")
    encoding: str = option("auto", label=tr("Encoding"), help=tr("How the bytes of text files become letters."), advanced=True,
        group="sources", choices=ENCODINGS)
    split_by: str = option("file", label=tr("One document is"), advanced=True, group="sources",
        help=tr("How text files are cut into documents."),
        choices=(("file", tr("a file")), ("blank_lines", tr("text between blank lines")), ("line", tr("a line"))))
    max_document_bytes: int = option(1_000_000, label=tr("Longest document"), unit=tr("bytes"), ge=1_000, le=100_000_000, advanced=True,
        group="sources", help=tr("Longer texts are cut at a paragraph, so that memory stays bounded."))

    # cleaning: what changes documents
    unicode: bool = option(True, label=tr("Unicode form and control characters"), group="clean",
        help=tr("One code for each accented letter (NFC); invisible control characters go. Line breaks and tabs stay."))
    mojibake: bool = option(True, label=tr("Garbled letters"), group="clean",
        help=tr("Mends text that was decoded wrongly once, as in “CafÃ©”, where that is certain."))
    whitespace: bool = option(True, label=tr("White space"), group="clean",
        help=tr("Spaces at line ends and long runs of blank lines go. Indentation stays."))
    repeated_lines: bool = option(False, label=tr("Boilerplate lines"), group="clean",
        help=tr("Lines that stand in many documents, such as menus, page headers and footers, are cut out."))
    repeated_lines_documents: int = option(10, label=tr("Boilerplate from"), unit=tr("documents"), ge=2, le=1_000_000, advanced=True,
        group="clean", visible_if=("repeated_lines", True), help=tr("A line that stands in so many documents is boilerplate."))
    personal_data: bool = option(False, label=tr("Personal data"), group="clean",
        help=tr("E-mail addresses, phone and card numbers, bank accounts, IP addresses and keys become placeholders such as <EMAIL>."))
    personal_kinds: tuple[str, ...] = option(tuple(k for k, _ in PERSONAL_KINDS), label=tr("Kinds of personal data"), advanced=True,
        group="clean", visible_if=("personal_data", True), help=tr("What is replaced."))
    phone_region: str = option("", label=tr("Country of phone numbers"), advanced=True, group="clean", visible_if=("personal_data", True),
        help=tr("Two letters, as US or DE, for numbers written without a country code. Empty: only forms that are certain."))

    # cleaning: what removes documents
    minimum_length: int = option(0, label=tr("Shortest document"), unit=tr("characters"), ge=0, le=1_000_000, group="remove",
        help=tr("Shorter documents are removed. 0 keeps all."))
    identify_languages: bool = option(True, label=tr("Identify languages"), group="remove",
        help=tr("Says which language each document is in, for the report and for rules that depend on it."))
    languages: tuple[str, ...] = option((), label=tr("Keep only these languages"), group="remove", visible_if=("identify_languages", True),
        help=tr("Codes such as en or pt. Empty keeps all."))
    quality_gopher: bool = option(False, label=tr("Gopher rules"), group="remove",
        help=tr("Removes documents with odd word counts, symbols, bullet lists or repetition. Made for prose in languages with spaces."))
    quality_c4: bool = option(False, label=tr("C4 rules"), group="remove",
        help=tr("Removes code-like pages, placeholder text and lines without a sentence end. Made for English web pages."))
    quality_fineweb: bool = option(False, label=tr("FineWeb rules"), group="remove",
        help=tr("Removes documents of short, repeated or unpunctuated lines. Made for web pages in languages with spaces."))
    harmful: str = option("off", label=tr("Harmful content"), group="remove",
        choices=(("off", tr("Do not look")), ("list", tr("List it")), ("remove", tr("Remove it"))),
        help=tr("Adult, hateful and violent texts and self-harm, by word lists, by your own decisions, or by a local model."))
    harm_kinds: tuple[str, ...] = option(tuple(k for k, _ in HARM_KINDS), label=tr("Kinds of harm"), advanced=True, group="remove",
        help=tr("What is looked for."))
    harm_threshold: float = option(0.5, label=tr("Harm threshold"), ge=0.05, le=1.0, advanced=True, group="remove",
        help=tr("Documents that score higher are harmful. Lower finds more, and more by mistake."))
    harm_learned: bool = option(True, label=tr("Learn from your decisions"), advanced=True, group="remove",
        help=tr("From twenty decisions of each sort on, a small classifier made from them joins the word lists."))
    harm_judge: str = option("", label=tr("Local model as judge"), advanced=True, group="remove",
        help=tr("A model of Ollama (as ollama:llama3.2) or the address of an OpenAI-compatible server on this machine, asked about "
                "borderline texts. Empty: none."))

    # duplicates
    exact_duplicates: bool = option(True, label=tr("Exact duplicates"), group="duplicates",
        help=tr("Documents that are equal but for letter case, punctuation and white space; one stays."))
    near_duplicates: bool = option(True, label=tr("Near duplicates"), group="duplicates",
        help=tr("Documents that share most of their word sequences; one of each group stays."))
    near_threshold: float = option(0.7, label=tr("Similarity from"), ge=0.4, le=0.95, group="duplicates",
        visible_if=("near_duplicates", True),
        help=tr("Share of common word sequences (Jaccard) from which two documents are near duplicates."))
    contained: bool = option(True, label=tr("Excerpts"), group="duplicates", visible_if=("near_duplicates", True),
        help=tr("A document whose text stands in a longer one counts as its duplicate."))
    keep_rule: str = option("first", label=tr("Of duplicates, keep"), group="duplicates",
        choices=(("first", tr("the first")), ("longest", tr("the longest")), ("quality", tr("the best by quality"))),
        help=tr("Which document of a group stays. You can choose another by hand afterwards."))
    shingle_words: int = option(0, label=tr("Words in a sequence"), ge=0, le=20, advanced=True, group="duplicates",
        help=tr("Length of the compared sequences. 0: 5 words, or 12 characters where words are not spaced."))
    repeated_paragraphs: bool = option(False, label=tr("Repeated paragraphs"), group="duplicates",
        help=tr("A paragraph that stands in several documents stays in the first one only."))
    repeated_passages: bool = option(False, label=tr("Long repeated passages"), group="duplicates",
        help=tr("Exact passages that stand in several documents stay in the first one only, wherever they begin."))
    passage_words: int = option(50, label=tr("Passages from"), unit=tr("words"), ge=20, le=1_000, advanced=True, group="duplicates",
        visible_if=("repeated_passages", True), help=tr("Shorter repetitions are left alone."))

    # held-out sets
    held_out: tuple[str, ...] = option((), label=tr("Held-out sets"), group="split",
        help=tr("Files with problems that you will test the model on; documents that contain them are found."))
    contamination: str = option("list", label=tr("Documents with held-out text"), group="split",
        choices=(("list", tr("List them")), ("remove", tr("Remove them"))),
        help=tr("What happens to documents that hold text you test on."))
    overlap_words: int = option(13, label=tr("Overlap from"), unit=tr("words"), ge=5, le=50, advanced=True, group="split",
        help=tr("So many words in the same order count as overlap (13 in GPT-3)."))

    compare_validation: bool = option(False, label=tr("Compare with the validation part"), advanced=True, group="split",
        help=tr("Finds training documents that share long passages with validation documents, although they are no near duplicates."))

    # split
    validation_percent: float = option(10.0, label=tr("For validation"), unit="%", ge=0.1, le=50, group="split",
        help=tr("Kept out of training, to measure what the model has understood. Near duplicates never fall on both sides."))
    decisions: bool = option(True, label=tr("Apply my decisions"), advanced=True, group="split",
        help=tr("Documents that you excluded or restored in this project stay so."))
    executor: str = option("local", label=tr("Runs on"), advanced=True, group="split",
        choices=(("local", tr("this machine")), ("datatrove", tr("a datatrove pipeline, here")),
                 ("datatrove_cluster", tr("a datatrove pipeline, elsewhere"))),
        help=tr("datatrove runs the same steps; “elsewhere” only writes the pipeline, to be started on Slurm or Ray."))
    pipeline: str = option("", label=tr("Pipeline that has run"), hidden=True,
        help=tr("The folder of a datatrove pipeline that has run elsewhere; its output becomes the corpus."))

    def problems(self) -> list[Problem]:
        found: list[Problem] = []
        if not self.sources and not self.base and not self.pipeline:
            found.append(Problem("sources", tr("There is nothing to import."), tr("Add a file or a folder.")))
        for field, known in (("harm_kinds", HARM_KINDS), ("personal_kinds", PERSONAL_KINDS)):
            names = [name for name, _ in known]
            for given in getattr(self, field):
                if given not in names:
                    found.append(Problem(field, tr("{kind} is not known.", kind=given), tr("Known: {known}.", known=", ".join(names))))
        from engine.text.cleaning.language import known
        if strange := [code for code in self.languages if code.strip().lower() not in known()]:
            found.append(Problem("languages", tr("{code} is no language that is recognised.", code=strange[0]),
                                 tr("Give codes of two letters, such as en or pt: {known}.", known=", ".join(sorted(known())))))
        if self.languages and not self.identify_languages:
            found.append(Problem("languages", tr("Languages can only be chosen when they are identified."), tr("Switch that on.")))
        return found

    def options_of(self, source: str) -> SourceOptions:
        return self.source_options.get(source, SourceOptions())

    def plain(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
