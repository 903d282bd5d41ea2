from pathlib import Path

import pyarrow as pa
import pytest

from bucolic.data.attribution import page_of, write_attribution
from bucolic.data.captions import IMAGES, Licence
from bucolic.data.tables import read_table

LICENCES = {
    4: Licence("Attribution | License", "http://creativecommons.org/licenses/by/2.0/"),
    5: Licence("A name", "http://x) <script>"),
}


@pytest.mark.parametrize(
    ("url", "page"),
    [
        (
            "http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg",
            "https://www.flickr.com/photo.gne?id=8119368305",
        ),
        (
            "http://farm1.static.flickr.com/88/252_a_z.jpg",
            "https://www.flickr.com/photo.gne?id=252",
        ),
        ("http://example.org/8186/8119368305_4e622c8349_z.jpg", ""),
        ("", ""),
    ],
)
def test_flickr_s_page_follows_from_the_address_of_the_file(url: str, page: str):
    """The number that a file's name begins with is the photograph's."""
    assert page == page_of(url)


def test_each_image_is_attributed_in_a_table_and_on_a_page(tmp_path: Path):
    """Names of others break no table, and what is not known is not made up."""
    flickr = "http://farm9.staticflickr.com/8186/81_4e_z.jpg"
    records = [
        {"image_id": 1, "file_name": "a.jpg", "licence": 4, "flickr_url": flickr},
        {"image_id": 2, "file_name": "b|c.jpg", "licence": 9, "flickr_url": ""},
        {"image_id": 3, "file_name": "d.jpg", "licence": None, "flickr_url": ""},
        {"image_id": 4, "file_name": "e.jpg", "licence": 5, "flickr_url": "http://x/a|b\nc"},
        {"image_id": 5, "file_name": "f.jpg", "licence": 5, "flickr_url": "javascript:alert()"},
    ]
    images = pa.Table.from_pylist(records, schema=IMAGES)
    write_attribution(tmp_path / "out", images, LICENCES)

    rows = read_table(tmp_path / "out/images.parquet", "attribution", "1").to_pylist()
    assert [4, 9, None, 5, 5] == [row["licence"] for row in rows]
    names = ["Attribution | License", "", "", "A name", "A name"]
    assert names == [row["licence_name"] for row in rows]
    pages = ["https://www.flickr.com/photo.gne?id=81", "", "", "", ""]
    assert pages == [row["page"] for row in rows]
    page = (tmp_path / "out/ATTRIBUTION.md").read_text()
    licence = "[Attribution \\| License](http://creativecommons.org/licenses/by/2.0/)"
    assert f"| a.jpg | {licence} | https://www.flickr.com/photo.gne?id=81 |" in page
    assert "| b\\|c.jpg | 9 |  |\n| d.jpg | not stated |  |\n" in page
    assert page.endswith("| e.jpg | A name |  |\n| f.jpg | A name |  |\n")  # odd addresses
