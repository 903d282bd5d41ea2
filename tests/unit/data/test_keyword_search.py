"""Searching captions for the letters of keywords."""

from itertools import permutations

import numpy as np
import pyarrow as pa

from bucolic.data.keyword_search import part_of_other_words


def test_of_keywords_that_begin_alike_the_longest_stands_whatever_their_order():
    """The record's words are the same in each run."""
    texts = pa.chunked_array([["a big xtree house here", "a treehouse"]])
    for words in permutations(("tree", "tree house", "big")):
        found = part_of_other_words(texts, words, np.array([True, True]))
        assert {0: ["xtree house"], 1: ["treehouse"]} == found
