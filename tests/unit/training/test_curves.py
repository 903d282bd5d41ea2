from pathlib import Path

from bucolic.training.curves import write_curves

ROWS = [
    {"phase": "first", "images_seen": 16, "train_loss": 3.0, "val_loss": 3.25, "step_loss": 9.0},
    {"phase": "first", "images_seen": 32, "train_loss": 2.0, "val_loss": 2.5, "step_loss": 8.0},
    {"phase": "second", "images_seen": 8, "train_loss": 1.0, "val_loss": 1.5, "val_alone": 4.0},
]


def test_each_quantity_is_a_table_of_train_beside_val(tmp_path: Path):
    """One file a phase and quantity; what was measured on one side alone has none."""
    write_curves(tmp_path / "curves", ROWS)

    texts = {path.name: path.read_text() for path in (tmp_path / "curves").iterdir()}
    assert texts == {
        "first-loss.csv": "images_seen,train,val\n16,3.0,3.25\n32,2.0,2.5\n",
        "second-loss.csv": "images_seen,train,val\n8,1.0,1.5\n",
    }


def test_curves_of_an_earlier_run_do_not_stay(tmp_path: Path):
    """The folder holds the files of the last run alone."""
    write_curves(tmp_path, ROWS)
    write_curves(tmp_path, ROWS[2:])

    assert [path.name for path in tmp_path.iterdir()] == ["second-loss.csv"]
