"""Files of rows in and out, whatever a row becomes: looked into and read in a watched process, written aside and renamed.

What a row means is said by a RowKind (engine/text/conversations, engine/text/preferences). Nothing here knows one of them.
"""
