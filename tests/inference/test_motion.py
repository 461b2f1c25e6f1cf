"""Results read back."""

import json

import numpy as np
import pytest
from moving import TIMES, K, hand, record

from auxhand.hand.skeleton import JOINT_NAMES
from auxhand.inference import motion
from auxhand.inference.motion import read_camera, read_hands


def test_a_recording_is_read_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(motion, "ROWS", 4)  # read in two goes
    hands = list(read_hands(record(tmp_path / "clip.parquet")))
    assert [(h.frame, h.identity, h.side) for h in hands] == [
        (0, 0, "right"),
        (1, 0, "right"),
        (1, 1, "left"),
        (2, 0, "right"),
        (2, 1, "left"),
        (3, 0, "right"),
    ]
    for seen in hands:
        said = hand(seen.frame, seen.identity, seen.side).prediction
        assert seen.time == TIMES[seen.frame]
        assert seen.presence == pytest.approx(said.presence)
        np.testing.assert_allclose(seen.xyz, said.joints_xyz, atol=1e-6)
        np.testing.assert_allclose(seen.uv, said.joints_uv, atol=1e-3)
        np.testing.assert_allclose(seen.confidence, said.confidence, atol=1e-6)


def photo_json(**changes):
    said = hand(1).prediction
    columns = {"uv_px": said.joints_uv, "camera_m": said.joints_xyz, "confidence": said.confidence}
    joints = {
        name: {key: value[j].tolist() for key, value in columns.items()}
        for j, name in enumerate(JOINT_NAMES)
    }
    one = {"side": "right", "presence": None, "joints": joints}
    whole = {"photo": "a.jpg", "width_px": 640, "height_px": 480, "hands": [one]}
    return whole | {"camera": {"K_px": K.tolist()}} | changes


def test_a_photo_is_read_as_it_was_written(tmp_path):
    said = photo_json()
    said["hands"][0]["joints"]["wrist"]["confidence"] = None
    (tmp_path / "a.json").write_text(json.dumps(said))
    (seen,) = read_hands(tmp_path / "a.json")
    np.testing.assert_allclose(seen.xyz, hand(1).prediction.joints_xyz)
    assert np.isnan(seen.presence)
    assert np.isnan(seen.confidence[0])
    assert seen.confidence[1] == pytest.approx(hand(1).prediction.confidence[1])
    camera = read_camera(tmp_path / "a.json")
    assert (camera.width, camera.height) == (640, 480)
    np.testing.assert_array_equal(camera.K, K)


def test_the_json_of_a_recording_leads_to_its_table(tmp_path):
    record(tmp_path / "clip.parquet")
    assert read_camera(tmp_path / "clip.parquet") is None
    (tmp_path / "clip.json").write_text(json.dumps(photo_json(video="clip.mp4")))
    assert len(list(read_hands(tmp_path / "clip.json"))) == 6
    assert read_camera(tmp_path / "clip.parquet").width == 640


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "{", "no JSON"),
        ("a.json", "[]", "no result of auxhand predict"),
        ("a.json", '{"photo": "a"}', "no result of auxhand predict"),
        ("a.json", '{"photo": "a", "hands": [{"side": "left"}]}', "no result of auxhand predict"),
        ("a.parquet", "text", "neither Parquet nor JSON"),
        ("a.txt", "text", "neither Parquet nor JSON"),
    ],
)
def test_what_is_no_result_is_one_line(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=says) as error:
        list(read_hands(tmp_path / name))
    assert name in str(error.value)


def test_another_table_is_one_line(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet as pq

    pq.write_table(pa.table({"frame": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="no column"):
        list(read_hands(tmp_path / "a.parquet"))
    with pytest.raises(FileNotFoundError):
        list(read_hands(tmp_path / "nowhere.parquet"))


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("frame", ["a"] * 6, "frame is of kind string"),
        ("side", [1] * 6, "side is of kind int64"),
        ("side", ["up"] * 6, "damaged .* without frame, time, hand or side"),
        ("time_s", [None, *[0.5] * 5], "damaged .* without frame, time, hand or side"),
        ("wrist_u_px", [[1.0]] * 6, "wrist_u_px is of kind list"),
    ],
)
def test_columns_of_other_things_are_one_line(tmp_path, column, values, says):
    import pyarrow as pa
    from pyarrow import parquet as pq

    path = record(tmp_path / "clip.parquet")
    table = pq.read_table(path)
    changed = table.set_column(table.column_names.index(column), column, pa.array(values))
    pq.write_table(changed, path)
    with pytest.raises(ValueError, match=rf"clip\.parquet.*{says}"):
        list(read_hands(path))
    twice = table.append_column(column, table[column])
    pq.write_table(twice, path)
    with pytest.raises(ValueError, match=f"2 columns {column}"):
        list(read_hands(path))


def test_a_damaged_table_is_one_line(tmp_path):
    path = record(tmp_path / "clip.parquet")
    data = bytearray(path.read_bytes())
    data[4:400] = b"\xff" * 396
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"(?s)clip\.parquet is damaged .*: make it anew"):
        list(read_hands(path))


def test_a_side_that_is_none_is_one_line(tmp_path):
    said = photo_json()
    said["hands"][0]["side"] = "up"
    (tmp_path / "a.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"a\.json: no result of auxhand predict \(no side 'up'"):
        list(read_hands(tmp_path / "a.json"))
