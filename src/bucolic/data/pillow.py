"""What a process that decodes data sets asks of Pillow; whoever imports bucolic keeps their own.

All of it holds for the whole process, so stages ask for it where they work, and nothing on import:
the Python API lives in processes that are the user's.
"""

import logging
import warnings

from PIL import Image


def prepare_pillow() -> None:
    """Have this process decode a data set's pictures: any size, quietly, without fresh memory.

    data/display.py has a limit of its own, which compares sizes first. What Pillow says of single
    tags is no news to a user. And to fault in fresh pages for each picture takes a third of a
    photograph's time: Pillow then keeps 64 MiB in blocks so small that malloc keeps what they are
    made of as well, and up to 150 MB more behind a picture of 20 million pixels. Arrow cannot share
    the memory of a picture that has several blocks.
    """
    Image.MAX_IMAGE_PIXELS = None
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    allocator = Image.core  # type: ignore[attr-defined]
    allocator.set_block_size(2**16)
    allocator.set_blocks_max(2**10)
