"""Numbered upgrades of library.sqlite, each in a transaction, after a backup. One from a later Fledge is refused, never touched."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import sqlite_utils

from engine.contract.errors import Corrupt, TooNew
from engine.contract.words import tr
from engine.project import layout


def _first(db: sqlite_utils.Database) -> None:
    """Chats: a conversation or a completion with its settings; turns in order, each with the model that wrote it."""
    db.execute("create table chats (id text primary key, title text not null, mode text not null, created real not null,"
               " updated real not null, settings text not null default '{}')")
    db.execute("create table turns (id text primary key, chat text not null references chats(id), place integer not null,"
               " side integer not null default 0, role text not null, content text not null, model text not null default '',"
               " created real not null, facts text not null default '{}')")
    db.execute("create index turns_by_chat on turns (chat, place, side)")
    db.execute("create table ingested (run text not null, row text not null, primary key (run, row))")


def _second(db: sqlite_utils.Database) -> None:
    """Decisions by hand about documents, with the history that undo goes back through; labels of harmful texts, to learn from."""
    db.execute("create table decisions (document text primary key, keep integer not null check (keep in (0, 1)), author text not null,"
               " decided real not null, corpus text not null, source text not null, note text not null) without rowid")
    db.execute("create table decision_changes (number integer primary key autoincrement, made real not null, author text not null,"
               " documents integer not null, undone integer not null default 0)")
    # What each change found and left; a null `keep` stands for no decision.
    sides = ", ".join(f"{side}_keep integer, {side}_author text, {side}_decided real, {side}_corpus text, {side}_source text,"
                      f" {side}_note text" for side in ("before", "after"))
    db.execute(f"create table decision_changed (change integer not null references decision_changes(number) on delete cascade,"
               f" document text not null, {sides}, primary key (change, document)) without rowid")
    db.execute("create table harm_labels (document text not null, kind text not null, harmful integer not null check (harmful in (0, 1)),"
               " corpus text not null, text text not null, author text not null, labelled real not null, primary key (document, kind))")


def _third(db: sqlite_utils.Database) -> None:
    """Sets of examples with their review: small columns in one table, texts in another, so that sorting a page reads no text. The history
    keeps what every step found and left. Votes of blind comparisons."""
    db.execute("create table example_sets (number integer primary key autoincrement, title text not null, created real not null,"
               " origin text not null, run text not null, new integer not null default 0, accepted integer not null default 0,"
               " rejected integer not null default 0)")
    # Runs whose rows come into a set: how far their file was read. A null set was deleted, and does not come back.
    db.execute("create table example_runs (run text primary key, set_number integer, taken integer not null default 0) without rowid")
    # state: 0 new, 1 accepted, 2 rejected, 3 deleted
    db.execute("create table examples (number integer primary key autoincrement, id text not null unique, set_number integer not null,"
               " state integer not null check (state between 0 and 3), score real, origin text not null, flags text not null,"
               " length integer not null, added real not null, added_by text not null, updated real not null, edited_by text not null,"
               " comment text not null)")
    # A condition that no index can search by, so that a page in order of adding is read without sorting.
    db.execute("create index examples_by_place on examples (set_number, number) where state <> 3")
    db.execute("create index examples_by_state on examples (set_number, state, number)")
    db.execute("create table example_texts (number integer primary key, messages text not null, facts text not null)")
    # undone: 0 in force, 1 can be redone, 2 undone and overtaken by a later step: kept as history only
    db.execute("create table example_changes (number integer primary key autoincrement, made real not null, author text not null,"
               " what text not null, examples integer not null, undone integer not null default 0)")
    db.execute("create index example_changes_undone on example_changes (undone, number)")
    # Nulls of messages, length and comment: not touched by the step.
    sides = ", ".join(f"{side}_state integer not null, {side}_messages text, {side}_length integer, {side}_comment text,"
                      f" {side}_updated real not null, {side}_edited_by text not null" for side in ("before", "after"))
    db.execute(f"create table example_changed (change integer not null references example_changes(number) on delete cascade,"
               f" example integer not null, {sides}, primary key (change, example)) without rowid")
    db.execute("create index example_changed_by_example on example_changed (example)")
    db.execute("create table votes (number integer primary key autoincrement, id text not null unique, purpose text not null,"
               " prompt text not null, left_text text not null, right_text text not null, left_model text not null,"
               " right_model text not null, choice text not null check (choice in ('left', 'right', 'tie', 'bad')), author text not null,"
               " made real not null, facts text not null)")
    db.execute("create index votes_by_purpose on votes (purpose, number)")


def _fourth(db: sqlite_utils.Database) -> None:
    """Pairs of answers, the sets they are in, and labels. A pair has one row however many sets hold it, since its labels are its own."""
    db.execute("create table pair_sets (number integer primary key autoincrement, title text not null, created real not null,"
               " origin text not null, run text not null, pairs integer not null default 0)")
    db.execute("create table pair_runs (run text primary key, set_number integer, taken integer not null default 0) without rowid")
    # given: a file, the judge or a vote says already which is better. swapped: the first answer sorts after the second.
    db.execute("create table pairs (number integer primary key autoincrement, id text not null unique, given integer not null,"
               " swapped integer not null, draw integer not null, first_length integer not null, second_length integer not null,"
               " origin text not null)")
    db.execute("create table pair_texts (number integer primary key, prompt text not null, first text not null, second text not null,"
               " rest text not null)")
    db.execute("create table pair_members (set_number integer not null, place integer not null, pair integer not null,"
               " given integer not null, draw integer not null, primary key (set_number, place)) without rowid")
    db.execute("create unique index pair_members_by_pair on pair_members (pair, set_number)")
    db.execute("create index pair_members_by_place on pair_members (set_number, given, place, pair)")
    db.execute("create index pair_members_by_draw on pair_members (set_number, given, draw, place, pair)")
    # choice and left_side name answers by their texts' order ("a" sorts before "b"), which is the same on every machine. round: 0 a note on
    # a pair without a label, 1, 2 shown again. A deleted one stays, so that merging knows. force: of those of one author on one pair in one
    # round the one that counts. here: made in this library. again: waits to be shown again. A null pair is not in the library (yet).
    db.execute("create table labels (number integer primary key autoincrement, id text not null unique, pair_id text not null,"
               " pair integer, author text not null, round integer not null, choice text not null, strength integer not null,"
               " edited text not null, comment text not null, flagged integer not null, left_side text not null, seconds real not null,"
               " position integer not null, made real not null, revision integer not null, changed real not null, deleted integer not null,"
               " force integer not null, here integer not null, again integer not null)")
    db.execute("create unique index labels_in_force on labels (pair, author, round) where force = 1")
    db.execute("create index labels_by_pair on labels (pair)")
    db.execute("create index labels_by_author on labels (author, number) where force = 1 and round > 0")
    db.execute("create index labels_again on labels (author, number) where again = 1")
    db.execute("create index labels_without_pair on labels (pair_id) where pair is null")
    # before and after: {label id: what it said, null for nothing}. undone as in example_changes.
    db.execute("create table label_steps (number integer primary key autoincrement, made real not null, author text not null,"
               " what text not null, pair integer not null, before text not null, after text not null, undone integer not null default 0)")
    db.execute("create index label_steps_undone on label_steps (author, undone, number)")
    db.execute("create index label_steps_by_pair on label_steps (pair)")
    # who: "" for everybody together, "=NAME" for one. free: not among what is to do.
    db.execute("create table pair_counts (set_number integer not null, who text not null, done integer not null default 0,"
               " skipped integer not null default 0, flagged integer not null default 0, free integer not null default 0,"
               " given integer not null default 0, primary key (set_number, who)) without rowid")
    # Up to where an author has nothing left to do, in an order: a hint, so that finding the next pair passes over few.
    db.execute("create table pair_fronts (set_number integer not null, author text not null, sorted text not null, given integer not null,"
               " at real not null, primary key (set_number, author, sorted, given)) without rowid")
    db.execute("create table pair_clock (ticks integer not null)")
    db.execute("insert into pair_clock values (0)")
    db.execute("create table pair_score_runs (number integer primary key autoincrement, run text not null, made real not null,"
               " complete integer not null default 0)")
    db.execute("create table pair_scores (scoring integer not null, pair integer not null, first real not null, second real not null,"
               " uncertainty real not null, primary key (scoring, pair)) without rowid")
    db.execute("create index pair_scores_unsure on pair_scores (scoring, uncertainty desc, pair)")
    db.execute("create table label_guidelines (number integer primary key autoincrement, markdown text not null, author text not null,"
               " made real not null)")


def _fifth(db: sqlite_utils.Database) -> None:
    """Sets of problems: small columns in one table, texts in another. The history keeps what every step found and left."""
    # complete: 0 while its problems come in, and nobody sees it; what a kill leaves is removed later, by the age of `touched`.
    db.execute("create table problem_sets (number integer primary key autoincrement, title text not null, created real not null,"
               " origin text not null, run text not null, author text not null, source text not null, complete integer not null default 0,"
               " touched real not null, problems integer not null default 0, held_out integer not null default 0,"
               " difficulties text not null default '[]')")
    # prompt_key: the upper 63 bits of a hash of the prompt. gone: removed, until undo brings it back.
    db.execute("create table problems (number integer primary key autoincrement, id text not null, set_number integer not null,"
               " prompt_key integer not null, held_out integer not null check (held_out in (0, 1)), difficulty real, origin text not null,"
               " gone integer not null default 0 check (gone in (0, 1)))")
    db.execute("create unique index problems_by_id on problems (set_number, id) where gone = 0")
    db.execute("create index problems_by_place on problems (set_number, gone, number, held_out)")
    db.execute("create index problems_by_difficulty on problems (set_number, gone, difficulty, number)")
    db.execute("create index problems_by_prompt on problems (set_number, prompt_key)")
    db.execute("create index problems_of_id on problems (id)")
    db.execute("create table problem_texts (number integer primary key, prompt text not null, answer text not null, facts text not null)")
    # undone as in example_changes
    db.execute("create table problem_steps (number integer primary key autoincrement, made real not null, author text not null,"
               " what text not null, problems integer not null, undone integer not null default 0)")
    db.execute("create index problem_steps_undone on problem_steps (undone, number)")
    # Nulls of prompt and answer: not touched by the step.
    sides = ", ".join(f"{side}_id text not null, {side}_prompt_key integer not null, {side}_held_out integer not null,"
                      f" {side}_gone integer not null, {side}_prompt text, {side}_answer text" for side in ("before", "after"))
    db.execute(f"create table problem_changed (step integer not null references problem_steps(number) on delete cascade,"
               f" problem integer not null, {sides}, primary key (step, problem)) without rowid")
    db.execute("create index problem_changed_by_problem on problem_changed (problem)")
    # By the id of a problem, so that what was edited since was not looked for. source: a corpus or a set of examples. quote: "" where it
    # was looked for and not found.
    db.execute("create table problem_seen (problem text not null, source text not null, quote text not null, facts text not null,"
               " made real not null, primary key (problem, source)) without rowid")
    db.execute("create table problem_clock (ticks integer not null)")
    db.execute("insert into problem_clock values (0)")


def _sixth(db: sqlite_utils.Database) -> None:
    """Verifiers, and their versions, which never change. `draft`: what was typed since the newest of them."""
    db.execute("create table verifiers (number integer primary key autoincrement, title text not null,"
               " kind text not null check (kind in ('python', 'parts')), created real not null, updated real not null,"
               " origin text not null, draft text, removed integer not null default 0)")
    db.execute("create table verifier_versions (verifier integer not null references verifiers(number), number integer not null,"
               " body text not null, author text not null, made real not null, note text not null, primary key (verifier, number))")


MIGRATIONS: tuple[Callable[[sqlite_utils.Database], None], ...] = (_first, _second, _third, _fourth, _fifth, _sixth)


LARGE = 200_000_000
"""Bytes of a library from which on the tables in BULK are not checked at opening."""
BULK = ("examples", "example_texts", "example_changed", "pairs", "pair_texts", "pair_members", "pair_scores", "problems",
        "problem_texts", "problem_changed", "problem_seen")


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what a library of ours never holds: views and triggers (code that runs when read), and a damaged file. Of a large one the
    tables of rows are not read through: that would take seconds at each opening, and what is damaged there is told when it is read."""
    foreign = connection.execute("select type, name from sqlite_master where type in ('view', 'trigger')").fetchall()
    if foreign:
        raise Corrupt(tr("{file} holds a {kind} called {name}, which Fledge never writes.", file=path.name, kind=foreign[0][0],
                         name=foreign[0][1]), tr("The project was changed by something else. It was not opened."))
    if path.stat().st_size < LARGE:
        verdicts = [connection.execute("pragma quick_check(1)").fetchone()[0]]
    else:
        names = [r[0] for r in connection.execute("select name from sqlite_master where type = 'table'") if r[0] not in BULK]
        verdicts = [connection.execute(f'pragma quick_check("{name.replace(chr(34), chr(34) * 2)}")').fetchone()[0] for name in names]
    for verdict in [verdict for verdict in verdicts if verdict != "ok"][:1]:
        raise Corrupt(tr("{file} is damaged: {verdict}.", file=path.name, verdict=verdict),
                      tr("Copies from before each upgrade are in the project's folder `backups`."))


def migrate(db: sqlite_utils.Database, project: Path) -> None:
    """Bring the library to this version. `user_version` counts the upgrades applied."""
    version = int(db.conn.execute("pragma user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise TooNew(tr("This project was made by a later Fledge (library version {found}, this one knows {known}).", found=version,
                        known=len(MIGRATIONS)), tr("Install the newest Fledge to open it. Nothing was changed."))
    if version == len(MIGRATIONS):
        return
    if version > 0:
        folder = layout.backups(project)
        folder.mkdir(exist_ok=True)
        target = folder / f"library-v{version}-{time.strftime('%Y%m%d-%H%M%S')}.sqlite"
        db.conn.execute("vacuum into ?", [str(target)])
    for number in range(version, len(MIGRATIONS)):
        db.execute("begin immediate")
        try:
            if int(db.execute("pragma user_version").fetchone()[0]) == number:  # another process may have been first
                MIGRATIONS[number](db)
                db.execute(f"pragma user_version = {number + 1}")
            db.execute("commit")
        except BaseException:
            db.execute("rollback")
            raise
