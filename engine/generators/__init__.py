"""Local language models that write and judge data: where they are reached (providers), what they are asked (recipes), what is taken from
them (judging, quality)."""
