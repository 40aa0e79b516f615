"""Rows that make their reader hang or crash: a reading process that finds this module's name in FLEDGE_READ_TRIAL calls `install`. A row
says what happens by its "deed" (hostile_parsers.DEEDS)."""

from hostile_parsers import DEEDS

from engine.text.readers import tables


def install():
    real = tables.json_rows

    def json_rows(reader, lines):
        for number, row in real(reader, lines):
            if isinstance(row, dict) and "deed" in row:
                DEEDS[row["deed"]]()
            yield number, row
    tables.json_rows = json_rows
