"""The browser of a corpus: an index of its documents, kept and removed, beside the artifact, and the questions asked of it."""
